/** The report as one HTML file without scripts or outside requests. */
import { claimsOf, type Claim } from './claims.js';
import { barChart, escapeHtml, heatMap, lineChart, type Point } from './charts.js';
import type { FigureGroup } from './figures.js';
import type { MetricsRow, ReportData } from './report-data.js';

const style = `
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--muted:#5c6670;--line:#d9dee3;--card:#f6f8fa;--good:#2f9e6e;--bad:#e4e8ec;--c0:#2a78d6;--c1:#e08a1e;--c2:#2f9e6e;--c3:#b03a8c;--c4:#7a5bd0;--c5:#c0392b}
@media(prefers-color-scheme:dark){:root{--bg:#14181c;--fg:#e6e9ec;--muted:#9aa5af;--line:#323a42;--card:#1c2228;--good:#2f9e6e;--bad:#2a3138;--c0:#5b9ff0;--c1:#f0a94a;--c2:#4fc290;--c3:#dd77bb;--c4:#a48bf0;--c5:#e86a5c}}
*{box-sizing:border-box}body{margin:0 auto;max-width:820px;padding:24px 20px 64px;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}
h1{font-size:26px;margin:0 0 4px}h2{font-size:19px;margin:40px 0 8px;border-bottom:1px solid var(--line);padding-bottom:4px}p{margin:6px 0 12px}.muted{color:var(--muted)}
.claims{display:grid;gap:10px;margin:18px 0}.claim{background:var(--card);border-left:4px solid var(--c2);padding:10px 14px;border-radius:4px}.claim.no{border-left-color:var(--c5)}.claim b{display:block}.claim .verdict{float:right;color:var(--muted);font-size:13px}
figure{margin:14px 0 22px}figcaption{font-weight:600;margin-bottom:6px}.legend{font-weight:400;margin-left:10px}.key{margin-right:12px;color:var(--muted);font-size:13px;white-space:nowrap}.key i{display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:4px}
svg{width:100%;height:auto;display:block;overflow:visible}svg text{fill:var(--fg);font:12px system-ui,sans-serif}.tick,.axis,.mark-label{fill:var(--muted)!important}.mark-label{font-size:11px!important}.grid{stroke:var(--line)}.mark{stroke:var(--muted);stroke-dasharray:3 3;opacity:.6}.line{fill:none;stroke-width:1.8;stroke-linejoin:round}.interval{stroke:var(--fg);stroke-width:2}
table{border-collapse:collapse;width:100%;margin:6px 0 20px}th{text-align:left;padding:12px 8px 4px 0}td{padding:4px 8px 4px 0;border-top:1px solid var(--line);vertical-align:top}td:first-child{white-space:nowrap;color:var(--muted);width:1%;padding-right:24px}
.side{display:grid;grid-template-columns:repeat(auto-fit,minmax(320px,1fr));gap:8px}.empty{color:var(--muted)}a{color:var(--c0)}`;

export function reportPage(data: ReportData, figures: readonly FigureGroup[]): string {
  const { recipe, state } = data;
  const claims = data.evaluation ? claimsOf(data.evaluation) : [];
  const finished = Object.values(state.stages)
    .map(({ finishedAt }) => finishedAt)
    .sort()
    .at(-1);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>xgen-small: ${escapeHtml(recipe.name)}</title><style>${style}</style></head><body>
<h1>${escapeHtml(recipe.name)}</h1>
<p class="muted">${escapeHtml(recipe.description)}${finished ? ` · finished ${escapeHtml(finished.slice(0, 16).replace('T', ' '))} UTC` : ' · not finished'}</p>
${claims.length > 0 ? `<div class="claims">${claims.map(claimCard).join('')}</div>` : '<p>Evaluation has not run yet: this report shows what is there so far.</p>'}
${curationSection(data)}
${pretrainingSection(data)}
${retrievalSection(data)}
${posttrainingSection(data)}
<h2>Every figure</h2>
<table>${figures.map(({ title, rows }) => `<tr><th colspan="2">${escapeHtml(title)}</th></tr>${rows.map(([name, value]) => `<tr><td>${escapeHtml(name)}</td><td>${escapeHtml(value)}</td></tr>`).join('')}`).join('')}</table>
</body></html>
`;
}

function claimCard({ title, holds, detail }: Claim): string {
  return `<div class="claim${holds ? '' : ' no'}"><span class="verdict">${holds ? 'holds' : 'does not hold in this run'}</span><b>${escapeHtml(title)}</b>${escapeHtml(detail)}</div>`;
}

function curationSection({ curation, state }: ReportData): string {
  if (!curation) return '';
  const details = (state.stages.curate?.summary as { reportHtml?: string } | undefined)?.reportHtml;
  const funnel = curation.funnel.map(({ step, documents, textBytes }) => ({
    label: step,
    value: documents,
    text: `${documents.toLocaleString('en')} (${(textBytes / 1e6).toFixed(1)} MB)`,
  }));
  const shares = curation.domains.flatMap(({ domain, shareBefore, shareAfter }) => [
    { label: `${domain}, before`, value: shareBefore, text: `${(shareBefore * 100).toFixed(1)} %`, color: 5 },
    { label: `${domain}, after`, value: shareAfter, text: `${(shareAfter * 100).toFixed(1)} %`, color: 0 },
  ]);
  return `<h2>Curation</h2><p>What each step left of the documents read. ${details ? `<a href="${escapeHtml(details)}">The curation report</a> shows what each filter dropped, with examples.` : ''}</p>
${barChart('Documents after each step', funnel)}${barChart('Share of the text by domain, before curation and after the mixture', shares, 1)}`;
}

function pretrainingSection({ recipe, metrics, evaluation }: ReportData): string {
  const names = [...recipe.pretrain.stages, ...recipe.extend.stages].map(({ name }) => name);
  const loss: Point[] = [];
  const rate: Point[] = [];
  const marks: { x: number; label: string }[] = [];
  let offset = 0;
  for (const name of names) {
    const rows = metrics.get(name);
    if (!rows) continue;
    marks.push({ x: offset, label: name });
    for (const row of rows) {
      loss.push({ x: offset + Number(row.tokens), y: Number(row.loss) });
      rate.push({ x: offset + Number(row.tokens), y: Number(row.learningRate) });
    }
    offset += Number(rows[rows.length - 1].tokens);
  }
  if (loss.length === 0) return '';
  const baselines = evaluation
    ? barChart(
        'Held-out loss by domain (nats a token, lower is better)',
        Object.entries(evaluation.losses.domains).flatMap(([domain, row]) => [
          { label: `${domain}: unigram`, value: row.unigram, color: 5, text: row.unigram.toFixed(2) },
          { label: 'bigram', value: row.bigram, color: 1, text: row.bigram.toFixed(2) },
          { label: 'pre-trained', value: row.pretrain, color: 0, text: row.pretrain.toFixed(2) },
          { label: 'extended', value: row.extend, color: 2, text: row.extend.toFixed(2) },
        ]),
      )
    : '';
  return `<h2>Pre-training and length extension</h2>
<p>The mixture changes from stage to stage, so the training loss jumps at the dashed lines; held-out loss by domain is below.</p>
${lineChart({ title: 'Training loss', xLabel: 'tokens', yLabel: 'nats a token', series: [{ name: 'loss', points: loss }], marks })}
${lineChart({ title: 'Learning rate', xLabel: 'tokens', yLabel: 'rate', series: [{ name: 'rate', points: rate, color: 1 }], height: 140, yMinimum: 0, marks: marks.map(({ x }) => ({ x, label: '' })) })}
${baselines}`;
}

function retrievalSection({ evaluation }: ReportData): string {
  if (!evaluation) return '';
  const { before, after } = evaluation.needle;
  return `<h2>Retrieval from the context</h2><p>A sentence with a guest’s full name is hidden at some depth of a text of some length; given the first name, the model has to say the surname, and only the exact surname counts.</p>
<div class="side">${heatMap('Before extension', before.lengths, before.depths, before.matrix)}${heatMap('After extension', after.lengths, after.depths, after.matrix)}</div>`;
}

function posttrainingSection({ metrics, evaluation }: ReportData): string {
  const curve = (rows: readonly MetricsRow[], metric: string): Point[] =>
    rows.flatMap(({ step, [metric]: value }) => (typeof value === 'number' ? [{ x: step, y: value }] : []));
  const ppo = [...metrics].filter(([name]) => name.startsWith('ppo'));
  const parts: string[] = [];
  const sft = metrics.get('sft');
  if (sft)
    parts.push(
      lineChart({
        title: 'SFT: loss on assistant tokens',
        xLabel: 'step',
        yLabel: 'nats a token',
        series: [{ name: 'loss', points: curve(sft, 'loss') }],
        height: 200,
      }),
    );
  const dpo = metrics.get('dpo');
  if (dpo)
    parts.push(
      lineChart({
        title: 'DPO: reward margin of right over wrong answers',
        xLabel: 'step',
        yLabel: 'margin',
        series: [
          { name: 'pairs of the step', points: curve(dpo, 'rewardMargin') },
          { name: 'held-out pairs', points: curve(dpo, 'heldOutRewardMargin') },
        ].filter(({ points }) => points.length > 0),
        height: 200,
      }),
    );
  if (ppo.length > 0) {
    const series = (metric: string) => ppo.map(([name, rows]) => ({ name, points: curve(rows, metric) }));
    parts.push(
      lineChart({
        title: 'PPO: reward (share of right answers in the rollouts)',
        xLabel: 'iteration',
        yLabel: 'reward',
        series: series('reward'),
      }),
      lineChart({
        title: 'PPO: KL to the reference',
        xLabel: 'iteration',
        yLabel: 'nats a completion',
        series: series('referenceKl'),
        height: 200,
      }),
    );
  }
  if (evaluation) {
    parts.push(
      barChart(
        'Maths accuracy on held-out problems, with 95 % intervals',
        evaluation.maths.flatMap(({ name, sampled, greedy }) => [
          {
            label: `${name}: sampled`,
            value: sampled.mean,
            low: sampled.low,
            high: sampled.high,
            text: `${(sampled.mean * 100).toFixed(1)} %`,
            color: name.startsWith('ppo') ? 2 : 0,
          },
          {
            label: 'greedy',
            value: greedy.mean,
            low: greedy.low,
            high: greedy.high,
            text: `${(greedy.mean * 100).toFixed(1)} %`,
            color: name.startsWith('ppo') ? 4 : 1,
          },
        ]),
        1,
      ),
    );
  }
  return parts.length > 0 ? `<h2>Post-training</h2>${parts.join('\n')}` : '';
}
