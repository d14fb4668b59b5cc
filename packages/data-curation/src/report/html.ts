/** The report as one HTML page without scripts or outside resources, for readers who did not write the plan. */

import type { CurationReport, Histogram } from './types.js';
import { escapeHtml, formatBytes, formatCount, formatShare } from './format.js';
import { reportStyle } from './style.js';

export function renderReport(report: CurationReport): string {
  const first = report.funnel[0];
  const last = report.funnel.at(-1);
  const summary =
    first === undefined || last === undefined
      ? ''
      : `<p class="lead">Of ${formatCount(first.documents)} documents (${formatBytes(first.textBytes)}) that were read,
         ${formatCount(last.documents)} (${formatBytes(last.textBytes)}) became training text.</p>`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Curation report</title>
<style>${reportStyle}</style>
</head>
<body>
<h1>Curation report</h1>
${summary}
${report.notes.map((note) => `<p class="note">${escapeHtml(note)}</p>`).join('\n')}
${funnelSection(report)}
${domainSection(report)}
${stageSection(report)}
${dropSection(report)}
${duplicateSection(report)}
${qualitySection(report)}
${languageSection(report)}
${sampleSection(report)}
${decontaminationSection(report)}
${badInputSection(report)}
<p class="foot">Plan ${escapeHtml(report.planHash.slice(0, 16))}. The same plan and input give this page again, byte for byte.</p>
</body>
</html>
`;
}

function funnelSection(report: CurationReport): string {
  const largest = Math.max(1, ...report.funnel.map((step) => step.textBytes));
  const rows = report.funnel.map((step, index) => {
    const before = report.funnel[index - 1];
    const lost = before === undefined ? '' : `−${formatCount(before.documents - step.documents)}`;
    return `<tr><th scope="row">${escapeHtml(step.step)}<small>${escapeHtml(step.description)}</small></th>
      <td class="number">${formatCount(step.documents)}</td><td class="number">${lost}</td>
      <td class="number">${formatBytes(step.textBytes)}</td><td class="bar">${bar(step.textBytes / largest)}</td></tr>`;
  });
  return section(
    'funnel',
    'From what was read to what is kept',
    'Each line is what is left after one step; the bar shows the bytes of text.',
    `<table><thead><tr><th>step</th><th>documents</th><th>lost</th><th>text</th><th></th></tr></thead><tbody>${rows.join('')}</tbody></table>`,
  );
}

function domainSection(report: CurationReport): string {
  const rows = report.domains.map(
    (domain) => `<tr><th scope="row">${escapeHtml(domain.domain)}</th>
      <td class="number">${formatBytes(domain.before.textBytes)}</td>
      <td class="bar">${bar(domain.shareBefore, 'before')}<span>${formatShare(domain.shareBefore)}</span></td>
      <td class="number">${formatBytes(domain.after.textBytes)}</td>
      <td class="bar">${bar(domain.shareAfter)}<span>${formatShare(domain.shareAfter)}</span></td>
      <td class="number">${domain.targetShare === undefined ? '–' : formatShare(domain.targetShare)}</td>
      <td class="number">${domain.meanWeight.toFixed(2)}</td></tr>`,
  );
  return section(
    'domains',
    'Domains, before and after',
    'The share after counts each document as often as its weight says; the mean weight is how often a byte of the domain is used in one pass.',
    `<table><thead><tr><th>domain</th><th>read</th><th>share of what was read</th><th>kept</th><th>share of the mixture</th><th>target</th><th>mean weight</th></tr></thead>
     <tbody>${rows.join('')}</tbody></table>`,
  );
}

function stageSection(report: CurationReport): string {
  if (report.stages.length === 0) return '';
  const tables = report.stages.map((stage) => {
    const rows = stage.domains.map(
      (
        domain,
      ) => `<tr><th scope="row">${escapeHtml(domain.domain)}</th><td class="number">${formatCount(domain.documents)}</td>
        <td class="number">${formatCount(domain.tokens)}</td><td class="bar">${bar(domain.share)}<span>${formatShare(domain.share)}</span></td>
        <td class="number">${domain.targetShare === undefined ? '–' : formatShare(domain.targetShare)}</td><td class="number">${domain.largestRepeats}</td></tr>`,
    );
    const limit =
      stage.limitingDomain === undefined
        ? ''
        : ` The cap on repeats in ${escapeHtml(stage.limitingDomain)} keeps it below that.`;
    return `<h3>${escapeHtml(stage.name)}</h3><p>${formatCount(stage.tokens)} tokens; ${formatCount(stage.wantedTokens)} were wanted.${limit}</p>
      <table><thead><tr><th>domain</th><th>documents</th><th>tokens</th><th>share</th><th>target</th><th>most repeats</th></tr></thead><tbody>${rows.join('')}</tbody></table>`;
  });
  return section(
    'stages',
    'Training stages',
    'What each stage uses, as whole repeats of documents; tokens are estimated from bytes.',
    tables.join(''),
  );
}

function dropSection(report: CurationReport): string {
  const total = report.funnel[0]?.documents ?? 0;
  const items = report.drops.map((drop) => {
    const examples = drop.examples.map(
      (example) => `<figure><figcaption>${escapeHtml(example.id)} <em>${escapeHtml(example.detail)}</em></figcaption>
        <pre>${escapeHtml(example.excerpt)}</pre></figure>`,
    );
    return `<details><summary><b>${escapeHtml(drop.filter)}</b>: ${escapeHtml(drop.reason)}
      <span class="number">${formatCount(drop.documents)} documents, ${formatShare(drop.documents / Math.max(1, total))}, ${formatBytes(drop.textBytes)}</span></summary>
      ${examples.join('')}</details>`;
  });
  const changes = report.changes.map(
    (change) =>
      `<li>${escapeHtml(change.filter)}: ${escapeHtml(change.change)} in ${formatCount(change.documents)} documents</li>`,
  );
  return section(
    'drops',
    'What was dropped, and why',
    'Open a reason to see some of the documents it caught, chosen by hash and not by hand.',
    `${items.join('')}${changes.length === 0 ? '' : `<h3>Repairs and changes</h3><ul>${changes.join('')}</ul>`}`,
  );
}

function duplicateSection(report: CurationReport): string {
  const largest = Math.max(1, ...report.duplicateBuckets.map((bucket) => bucket.documents));
  const rows = report.duplicateBuckets.map((bucket) => {
    const label =
      bucket.maximum === undefined
        ? `${bucket.minimum} and more`
        : bucket.maximum === bucket.minimum
          ? String(bucket.minimum)
          : `${bucket.minimum}–${bucket.maximum}`;
    return `<tr><th scope="row">${label}</th><td class="number">${formatCount(bucket.clusters)}</td>
      <td class="number">${formatCount(bucket.documents)}</td><td class="bar">${bar(bucket.documents / largest)}</td></tr>`;
  });
  const examples = report.duplicateBuckets
    .filter((bucket) => bucket.examples.length > 0)
    .map(
      (
        bucket,
      ) => `<details><summary>Texts found ${bucket.minimum}${bucket.maximum === undefined ? ' times and more' : ` to ${bucket.maximum} times`}</summary>
        ${bucket.examples
          .map(
            (
              example,
            ) => `<figure><figcaption>${escapeHtml(example.id)} <em>${formatCount(example.duplicates)} copies</em></figcaption>
              <pre>${escapeHtml(example.excerpt)}</pre></figure>`,
          )
          .join('')}</details>`,
    );
  return section(
    'duplicates',
    'How often texts repeat',
    'One document of each group is kept and remembers how many it stands for. Texts that repeat very often are mostly templates.',
    `<table><thead><tr><th>copies</th><th>groups</th><th>documents</th><th></th></tr></thead><tbody>${rows.join('')}</tbody></table>${fittedCurve(report)}${examples.join('')}`,
  );
}

function fittedCurve({ fittedWeightCurve: curve }: CurationReport): string {
  if (curve === undefined) return '';
  const rows = curve.buckets.map(
    (
      bucket,
    ) => `<tr><th scope="row">${formatCount(bucket.minimum)} and more</th><td class="number">${formatCount(bucket.clusters)}</td>
      <td class="number">${formatCount(bucket.documents)}</td><td class="number">${formatShare(bucket.rate)}</td><td class="number">${bucket.weight}</td></tr>`,
  );
  return `<h3>Weights fitted to what the filters dropped</h3><p>With each group of copies counted once, the filters dropped ${formatShare(curve.overallRate)}; sizes dropped less often count more.</p>
    <table><thead><tr><th>copies</th><th>groups</th><th>documents</th><th>dropped</th><th>weight</th></tr></thead><tbody>${rows.join('')}</tbody></table>`;
}

function qualitySection(report: CurationReport): string {
  const charts = report.quality.map(
    ({ domain, histogram }) =>
      `<figure class="chart"><figcaption>${escapeHtml(domain)}</figcaption>${columns(histogram)}</figure>`,
  );
  return section(
    'quality',
    'Quality scores',
    'Documents by quality score, from 0 (left) to 1 (right), after duplicates were removed.',
    `<div class="charts">${charts.join('')}</div>`,
  );
}

function languageSection(report: CurationReport): string {
  const rows = report.languages.slice(0, 20).map(
    (
      entry,
    ) => `<tr><th scope="row">${escapeHtml(entry.language)}</th><td class="number">${formatCount(entry.before.documents)}</td>
        <td class="number">${formatBytes(entry.before.textBytes)}</td><td class="number">${formatCount(entry.after.documents)}</td>
        <td class="number">${formatBytes(entry.after.textBytes)}</td></tr>`,
  );
  const licenses = report.licenses
    .slice(0, 20)
    .map(
      (entry) =>
        `<tr><th scope="row">${escapeHtml(entry.license)}</th><td class="number">${formatCount(entry.documents)}</td></tr>`,
    );
  const sources = report.sources.map(
    (
      entry,
    ) => `<tr><th scope="row">${escapeHtml(entry.source)}</th><td class="number">${formatCount(entry.read.documents)}</td>
      <td class="number">${formatBytes(entry.read.textBytes)}</td><td class="number">${formatCount(entry.kept.documents)}</td>
      <td class="number">${formatBytes(entry.kept.textBytes)}</td></tr>`,
  );
  const head = (name: string) =>
    `<thead><tr><th>${name}</th><th>read</th><th>text read</th><th>kept</th><th>text kept</th></tr></thead>`;
  return section(
    'languages',
    'Sources, languages and licences',
    'Languages are natural languages for prose and programming languages for code; "und" means not determined.',
    `<table>${head('source')}<tbody>${sources.join('')}</tbody></table>
     <table>${head('language')}<tbody>${rows.join('')}</tbody></table>
     <table><thead><tr><th>licence</th><th>documents read</th></tr></thead><tbody>${licenses.join('')}</tbody></table>`,
  );
}

function sampleSection(report: CurationReport): string {
  const items = report.samples.map(
    (
      sample,
    ) => `<figure><figcaption>${escapeHtml(sample.id)} <em>${escapeHtml(sample.domain)}, ${escapeHtml(sample.language)},
      quality ${sample.quality.toFixed(2)}, ${formatCount(sample.duplicates)} ${sample.duplicates === 1 ? 'copy' : 'copies'}, weight ${sample.weight.toFixed(2)}</em></figcaption>
      <pre>${escapeHtml(sample.excerpt)}</pre></figure>`,
  );
  return section(
    'samples',
    'Some of what is kept',
    'Chosen by hash, the same number from each domain.',
    items.join(''),
  );
}

function decontaminationSection(report: CurationReport): string {
  if (report.decontamination.length === 0) return '';
  const rows = report.decontamination.map(
    (
      entry,
    ) => `<tr><th scope="row">${escapeHtml(entry.set)}</th><td class="number">${formatCount(entry.checkedItems)}</td>
      <td class="number">${formatCount(entry.uncheckedItems)}</td><td class="number">${formatCount(entry.documents)}</td></tr>`,
  );
  return section(
    'decontamination',
    'Evaluation sets kept out',
    'Documents that share a run of words with an item of these sets were dropped; items shorter than the run cannot be looked for. The list is in decontamination.jsonl.',
    `<table><thead><tr><th>set</th><th>items looked for</th><th>too short</th><th>documents dropped</th></tr></thead><tbody>${rows.join('')}</tbody></table>`,
  );
}

function badInputSection(report: CurationReport): string {
  if (report.badInputs.counts.length === 0) return '';
  const counts = report.badInputs.counts.map(
    (entry) =>
      `<tr><th scope="row">${escapeHtml(entry.reason)}</th><td class="number">${formatCount(entry.count)}</td></tr>`,
  );
  const examples = report.badInputs.examples.map(
    (entry) => `<li>${escapeHtml(entry.location)}: ${escapeHtml(entry.reason)}</li>`,
  );
  return section(
    'bad-input',
    'Input that could not be used',
    'Counted and named; nothing of it is in the output.',
    `<table><tbody>${counts.join('')}</tbody></table><details><summary>Where</summary><ul>${examples.join('')}</ul></details>`,
  );
}

function section(id: string, title: string, explanation: string, body: string): string {
  return `<section id="${id}"><h2>${title}</h2><p>${explanation}</p>${body}</section>`;
}

function bar(share: number, kind = 'after'): string {
  const width = Math.max(0, Math.min(1, share)) * 160;
  return `<svg width="160" height="14" role="img" aria-label="${formatShare(share)}"><rect class="track" width="160" height="14"/><rect class="${kind}" width="${width.toFixed(1)}" height="14"/></svg>`;
}

function columns(histogram: Histogram): string {
  const largest = Math.max(1, ...histogram.counts);
  const width = 240 / histogram.counts.length;
  const bars = histogram.counts.map((count, index) => {
    const height = (count / largest) * 90;
    const label = `${histogram.edges[index].toFixed(2)}: ${formatCount(count)}`;
    return `<rect class="after" x="${(index * width).toFixed(1)}" y="${(90 - height).toFixed(1)}" width="${(width - 1).toFixed(1)}" height="${height.toFixed(1)}"><title>${label}</title></rect>`;
  });
  return `<svg viewBox="0 0 240 106" width="240" height="106"><line x1="0" x2="240" y1="90.5" y2="90.5" class="axis"/>${bars.join('')}
    <text x="0" y="104">0</text><text x="240" y="104" text-anchor="end">1</text></svg>`;
}
