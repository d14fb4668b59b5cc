/**
 * The Parquet files of a Hugging Face dataset as URLs of one commit, so that a plan which names them reads the same bytes for ever.
 * One request to the Hub.
 */

import picomatch from 'picomatch';
import { z } from 'zod';
import { CurationError } from '../errors.js';
import { compareStrings } from '../util/hash.js';

export interface HuggingFaceOptions {
  /** `owner/name`. */
  dataset: string;
  /** Branch, tag or commit; default `main`. */
  revision?: string;
  /** Glob patterns over the files; default all Parquet files. */
  include?: readonly string[];
  /** Default https://huggingface.co; a mirror may stand here. */
  endpoint?: string;
  /** For private or gated datasets. */
  token?: string;
  signal?: AbortSignal;
}

const answerSchema = z.object({
  sha: z.string().regex(/^[0-9a-f]{40}$/),
  siblings: z.array(z.object({ rfilename: z.string() })),
});

/** @throws CurationError `DOWNLOAD_FAILED` when the Hub does not answer, `INPUT_NOT_FOUND` when no file matches. */
export async function huggingFaceParquetUrls(
  options: HuggingFaceOptions,
): Promise<{ revision: string; urls: string[] }> {
  const { dataset, revision = 'main', include = ['**/*.parquet'], endpoint = 'https://huggingface.co' } = options;
  if (!/^[\w.-]+\/[\w.-]+$/.test(dataset)) {
    throw new CurationError('OPTION_INVALID', `dataset is "${dataset}".`, {
      value: dataset,
      remedy: 'Give owner/name.',
    });
  }
  const url = `${endpoint}/api/datasets/${dataset}/revision/${encodeURIComponent(revision)}`;
  const failed = (reason: string, cause?: unknown) =>
    new CurationError('DOWNLOAD_FAILED', `${url}: ${reason}.`, {
      value: url,
      remedy: 'Check the name, the revision and the token.',
      cause,
    });
  let response: Response;
  try {
    const headers: Record<string, string> =
      options.token === undefined ? {} : { authorization: `Bearer ${options.token}` };
    response = await fetch(url, { headers, signal: options.signal });
  } catch (error) {
    throw failed('no answer', error);
  }
  if (!response.ok) throw failed(`status ${response.status}`);
  const parsed = answerSchema.safeParse(await response.json().catch(() => undefined));
  if (!parsed.success) throw failed('an answer of another shape', parsed.error);
  const isIncluded = picomatch([...include]);
  const files = parsed.data.siblings.map(({ rfilename }) => rfilename).filter((name) => isIncluded(name));
  if (files.length === 0) {
    throw new CurationError(
      'INPUT_NOT_FOUND',
      `The dataset ${dataset} has no file that matches ${include.join(', ')}.`,
      {
        value: dataset,
        remedy: 'Correct include.',
      },
    );
  }
  const { sha } = parsed.data;
  const encode = (name: string) => name.split('/').map(encodeURIComponent).join('/');
  return {
    revision: sha,
    urls: files.sort(compareStrings).map((name) => `${endpoint}/datasets/${dataset}/resolve/${sha}/${encode(name)}`),
  };
}
