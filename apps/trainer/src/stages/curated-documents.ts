/** Reads curated Parquet shards row group by row group: memory is one group's columns, whatever the shard's size. */
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';

export interface CuratedText {
  text: string;
  domain: string;
}

export async function* readCuratedTexts(files: readonly string[]): AsyncGenerator<CuratedText> {
  for (const path of files) {
    const file = await asyncBufferFromFile(path);
    const metadata = await parquetMetadataAsync(file);
    let rowStart = 0;
    for (const group of metadata.row_groups) {
      const rowEnd = rowStart + Number(group.num_rows);
      const rows = await parquetReadObjects({
        file,
        metadata,
        columns: ['text', 'domain'],
        rowStart,
        rowEnd,
        compressors,
      });
      yield* rows as unknown as CuratedText[];
      rowStart = rowEnd;
    }
  }
}

/** Texts of the given domains (default all), in order, until the characters are reached. */
export async function readDocumentTexts(
  files: readonly string[],
  options: { domains?: readonly string[]; maximumCharacters: number },
): Promise<string[]> {
  const texts: string[] = [];
  let characters = 0;
  for await (const { text, domain } of readCuratedTexts(files)) {
    if (options.domains && !options.domains.includes(domain)) continue;
    texts.push(text);
    characters += text.length;
    if (characters >= options.maximumCharacters) break;
  }
  return texts;
}

/** The first so many bytes of every domain: what a tokenizer learns from, balanced, whatever the order of the shards. */
export async function* balancedTexts(files: readonly string[], bytesPerDomain: number): AsyncGenerator<string> {
  const taken = new Map<string, number>();
  for await (const { text, domain } of readCuratedTexts(files)) {
    const before = taken.get(domain) ?? 0;
    if (before >= bytesPerDomain) continue;
    taken.set(domain, before + Buffer.byteLength(text));
    yield text;
  }
}
