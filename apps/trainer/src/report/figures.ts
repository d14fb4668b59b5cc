/** Every figure of a run as rows of a table: the terminal and the page show the same. */
import { formatBytes, formatCount, formatDuration, formatPercent } from '../terminal/format.js';
import { describePreferences, type PreferenceSummary } from './describe-preferences.js';
import { stageIds } from '../run/stage-context.js';
import type { ReportData } from './report-data.js';

export interface FigureGroup {
  title: string;
  rows: [name: string, value: string][];
}

export function figuresOf({ recipe, state, evaluation, metrics }: ReportData): FigureGroup[] {
  const groups: FigureGroup[] = [];
  const summary = (id: string): Record<string, never> | undefined =>
    state.stages[id]?.summary as Record<string, never> | undefined;
  const environment = state.environment as Record<string, string | number>;
  groups.push({
    title: 'Run',
    rows: [
      ['recipe', `${recipe.name} (${state.recipeSha256.slice(0, 12)})`],
      ['seeds', `${recipe.seed}; PPO ${recipe.ppo.seeds.join(', ')}`],
      [
        'hardware',
        `${environment.processor ?? '?'}, ${environment.cores ?? '?'} cores, ${formatBytes(Number(environment.memoryBytes ?? 0))}`,
      ],
      ['system', `${environment.platform ?? '?'}, Node ${environment.node ?? '?'}`],
      ['backend', String(environment.backendReason ?? environment.backend ?? '?')],
      ['version', `xgen-small ${environment.version ?? '?'}`],
    ],
  });
  const curate = summary('curate');
  const tokenize = summary('tokenize');
  const data: [string, string][] = [];
  if (curate) {
    data.push(
      ['documents read', formatCount(curate.documentsRead)],
      ['documents kept', `${formatCount(curate.documents)} (${formatBytes(curate.textBytes)})`],
    );
  }
  if (tokenize) {
    data.push(['vocabulary', formatCount(tokenize.vocabularySize)], ['training tokens', formatCount(tokenize.tokens)]);
    for (const [name, { bytesPerToken }] of Object.entries(
      (tokenize.domains as Record<string, { bytesPerToken: number }>) ?? {},
    )) {
      data.push([`bytes a token, ${name}`, bytesPerToken.toFixed(2)]);
    }
  }
  if (data.length > 0) groups.push({ title: 'Data', rows: data });
  const training: [string, string][] = [];
  if (summary('pretrain')) training.push(['parameters', formatCount(summary('pretrain')!.parameters)]);
  for (const id of ['pretrain', 'extend']) {
    for (const stage of (summary(id)?.stages as
      { name: string; tokens: number; loss: number; contextLength: number }[] | undefined) ?? []) {
      const rows = metrics.get(stage.name) ?? [];
      const rate = medianOf(rows.map((row) => Number(row.tokensPerSecond)));
      training.push([
        stage.name,
        `${formatCount(stage.tokens)} tokens at context ${stage.contextLength}, loss ${stage.loss.toFixed(3)}${Number.isFinite(rate) ? `, ${formatCount(rate)} tokens/s` : ''}`,
      ]);
    }
  }
  const sft = summary('sft') as { heldOutLossBefore?: number; heldOutLoss?: number } | undefined;
  if (sft?.heldOutLoss !== undefined)
    training.push(['SFT held-out loss', `${sft.heldOutLossBefore?.toFixed(3)} → ${sft.heldOutLoss.toFixed(3)}`]);
  const dpo = summary('dpo') as PreferenceSummary | undefined;
  if (dpo) training.push(['DPO', describePreferences(dpo)]);
  for (const { seed, first, final } of (summary('ppo')?.runs as
    { seed: number; first: { reward: number }; final: { reward: number; referenceKl: number } }[] | undefined) ?? []) {
    training.push([
      `PPO seed ${seed}`,
      `reward ${first.reward.toFixed(3)} → ${final.reward.toFixed(3)}, KL ${final.referenceKl.toFixed(3)} nats`,
    ]);
  }
  if (training.length > 0) groups.push({ title: 'Training', rows: training });
  if (evaluation) {
    groups.push({
      title: `Held-out loss, nats a token (uniform ${evaluation.losses.uniform.toFixed(2)})`,
      rows: Object.entries(evaluation.losses.domains).map(([domain, row]) => [
        domain,
        `unigram ${row.unigram.toFixed(3)}, bigram ${row.bigram.toFixed(3)}, pre-trained ${row.pretrain?.toFixed(3)}, extended ${row.extend?.toFixed(3)}`,
      ]),
    });
    groups.push({
      title: 'Needle retrieval, before → after extension',
      rows: evaluation.needle.after.byLength.map(({ length, accuracy }, i) => [
        `${length.toLocaleString('en')} tokens`,
        `${formatPercent(evaluation.needle.before.byLength[i].accuracy.mean)} → ${formatPercent(accuracy.mean)}`,
      ]),
    });
    groups.push({
      title: 'Maths accuracy, held-out problems',
      rows: evaluation.maths.map(({ name, sampled, greedy }) => [
        name,
        `sampled ${formatPercent(sampled.mean)} (95 % interval ${formatPercent(sampled.low)} to ${formatPercent(sampled.high)}), greedy ${formatPercent(greedy.mean)}, ${greedy.count} problems`,
      ]),
    });
  }
  const times = stageIds.flatMap((id): [string, string][] => {
    const record = state.stages[id];
    return record ? [[id, formatDuration(record.seconds)]] : [];
  });
  const total = stageIds.reduce((sum, id) => sum + (state.stages[id]?.seconds ?? 0), 0);
  if (times.length > 0) groups.push({ title: 'Time', rows: [...times, ['in all', formatDuration(total)]] });
  return groups;
}

export function medianOf(values: readonly number[]): number {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  return sorted.length === 0 ? NaN : sorted[Math.floor(sorted.length / 2)];
}
