import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { format } from 'prettier';
import { describe, expect, it } from 'vitest';
import { createFilter, filterSchema } from '../src/filters/registry.js';
import { CandidateDocument } from '../src/text/candidate.js';
import type { FilterExample } from './filter-examples/index.js';
import { filterExamples, filterSources } from './filter-examples/index.js';

function outcomeOf(example: FilterExample): FilterExample['outcome'] {
  const plan = filterSchema.parse({ filter: example.filter, ...example.options });
  const document = new CandidateDocument({
    id: 'x',
    source: 's',
    path: example.path ?? '',
    text: example.text,
    license: example.license,
  });
  document.language = example.language ?? 'und';
  const outcome = createFilter(plan).apply(document);
  if (outcome === undefined) return 'keep';
  return 'drop' in outcome ? outcome.drop : { text: outcome.text };
}

describe('filters against examples worked from their papers', () => {
  it.each(filterExamples.map((example) => [example.filter, example.rule, example.because, example] as const))(
    '%s, %s: %s',
    (_filter, _rule, _because, example) => {
      expect(outcomeOf(example)).toEqual(example.outcome);
    },
  );

  it('has an example of every filter', () => {
    const names = filterSchema.options.map((option) => option.shape.filter.value);
    expect(new Set(filterExamples.map((example) => example.filter))).toEqual(new Set(names));
  });

  it('publishes the table (FILTERS.md; `pnpm filters-table` writes it)', async () => {
    const path = fileURLToPath(new URL('../FILTERS.md', import.meta.url));
    const table = await format(renderTable(), { parser: 'markdown' });
    if (process.env.UPDATE_FILTERS === '1') await writeFile(path, table);
    expect(await readFile(path, 'utf8')).toBe(table);
  });
});

function renderTable(): string {
  const parts = [
    '# Filters, rule by rule',
    'Each rule was worked by hand at its limit, most on both sides of it; `test/filter-examples` holds the texts and a test runs them.\nThis page is written from that table.',
  ];
  for (const filter of new Set(filterExamples.map((example) => example.filter))) {
    const rows = filterExamples
      .filter((example) => example.filter === filter)
      .map(({ rule, because, outcome }) => {
        const shown =
          typeof outcome === 'string' ? (outcome === 'keep' ? 'kept' : `dropped: ${outcome}`) : 'text changed';
        return `| ${rule} | ${because.replaceAll('|', '\\|')} | ${shown} |`;
      });
    parts.push(
      `## ${filter}`,
      `Source: ${filterSources[filter]}.`,
      ['| rule | example | outcome |', '| --- | --- | --- |', ...rows].join('\n'),
    );
  }
  return `${parts.join('\n\n')}\n`;
}
