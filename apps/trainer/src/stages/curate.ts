/** Curation: sources → filters → deduplication → domains → mixture. The work is data-curation's; this names its files. */
import { existsSync } from 'node:fs';
import { curate } from '@xgen-small/data-curation';
import { formatBytes, formatCount } from '../terminal/format.js';
import { resolvePlanPaths } from '../recipe/load-recipe.js';
import type { PipelineStage } from '../run/stage-context.js';
import { relativeTo } from './paths.js';

export const curateStage: PipelineStage = {
  id: 'curate',
  title: 'Curate text',
  requires: [],
  // The manifest is the last file of a curation: there it was submitted to a cluster, and is finished.
  isFinishedElsewhere: ({ run }) => existsSync(run.folder('curate', 'manifest.json')),
  async run({ run, recipe, baseFolder, signal, onProgress, workers }) {
    const result = await curate(resolvePlanPaths(recipe, baseFolder), {
      outputFolder: run.folder('curate'),
      workers,
      signal,
      onProgress,
    });
    const documents = result.shards.reduce((sum, shard) => sum + shard.documents, 0);
    const bytes = result.shards.reduce((sum, shard) => sum + shard.textBytes, 0);
    const read = result.report.funnel[0];
    return {
      outputs: [
        ...result.shards.map(({ path }) => path),
        ...result.heldout.map(({ path }) => path),
        result.manifestPath,
        result.reportPath,
        result.reportHtmlPath,
      ],
      summary: {
        shards: result.shards.map(({ path }) => relativeTo(run, path)),
        heldout: result.heldout.map(({ path }) => relativeTo(run, path)),
        report: relativeTo(run, result.reportPath),
        reportHtml: relativeTo(run, result.reportHtmlPath),
        documentsRead: read?.documents ?? 0,
        documents,
        textBytes: bytes,
      },
      headline: `${formatCount(read?.documents ?? 0)} documents read, ${formatCount(documents)} kept (${formatBytes(bytes)})`,
    };
  },
};
