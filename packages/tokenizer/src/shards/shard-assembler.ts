/** Puts tokenized documents into shards, in order, and adds up what the manifest says about them. */
import { TokenizerError } from '../errors.js';
import type { RowBatches } from './corpus-batch.js';
import type { DomainStatistics, ShardManifest } from './manifest.js';
import { ShardWriter, type ShardRecord } from './shard-writer.js';
import type { TokenizedDocuments } from './tokenized-documents.js';

/** Bounds the metadata of a shard in memory when documents are tiny. */
const documentsPerShard = 1 << 22;

export class ShardAssembler {
  /** Rows used up by finished shards. */
  rowsDone: number;
  /** Rows of the batches added so far. */
  rowsSeen: number;
  private readonly folder: string;
  private readonly tokensPerShard: number;
  private readonly records: ShardRecord[];
  private readonly domains: Map<string, number>;
  private writer: ShardWriter | undefined;

  constructor(folder: string, tokensPerShard: number, records: ShardRecord[]) {
    this.folder = folder;
    this.tokensPerShard = tokensPerShard;
    this.records = records;
    const last = records.at(-1);
    this.rowsDone = last?.rowsDone ?? 0;
    this.rowsSeen = this.rowsDone;
    this.domains = new Map(last?.domains.map((domain, index) => [domain, index]));
  }

  /** Where an iteration over rows continues. */
  get resumeAt(): { rows: number; sha256: string } {
    return { rows: this.rowsDone, sha256: this.records.at(-1)?.rowsSha256 ?? '' };
  }

  get tokens(): number {
    return this.records.reduce((sum, { shard }) => sum + shard.tokens, this.writer?.tokens ?? 0);
  }

  private get documents(): number {
    return this.records.reduce((sum, { shard }) => sum + shard.documents, this.writer?.documents ?? 0);
  }

  /** Adds a batch whose first row is row `firstRow` of the input. */
  async add(firstRow: number, batch: TokenizedDocuments, rows: RowBatches | undefined): Promise<void> {
    const { tokens, tokenCounts } = batch;
    // A name gets its index when its first document comes, which does not depend on how the input was cut.
    const domainOf = batch.domains.map((name) => this.domainIndex(name));
    let document = 0;
    let token = 0;
    while (document < tokenCounts.length) {
      this.writer ??= await ShardWriter.create(this.folder, this.records.length);
      const { writer } = this;
      let endToken = token;
      let end = document;
      do endToken += tokenCounts[end++];
      while (
        end < tokenCounts.length &&
        writer.tokens + endToken - token < this.tokensPerShard &&
        writer.documents + end - document < documentsPerShard
      );
      for (let i = document; i < end; i++) {
        writer.addStatistics(batch.domains[batch.domain[i]], tokenCounts[i], batch.byteCounts[i]);
      }
      await writer.append({
        tokens: tokens.subarray(token, endToken),
        tokenCounts: tokenCounts.subarray(document, end),
        quality: batch.quality.subarray(document, end),
        weight: batch.weight.subarray(document, end),
        domain: Uint8Array.from(batch.domain.subarray(document, end), (local) => domainOf[local]),
      });
      if (writer.tokens >= this.tokensPerShard || writer.documents >= documentsPerShard) {
        await this.close(firstRow + batch.rows[end - 1] + 1, rows);
      }
      document = end;
      token = endToken;
    }
    this.rowsSeen = firstRow + batch.rowCount;
  }

  /** Ends the last shard. */
  async finish(rowsInAll: number, rows: RowBatches | undefined): Promise<void> {
    if (this.writer !== undefined) await this.close(rowsInAll, rows);
    this.rowsDone = rowsInAll;
  }

  async discard(): Promise<void> {
    await this.writer?.discard();
    this.writer = undefined;
  }

  summary(): Pick<ShardManifest, 'domains' | 'documents' | 'tokens' | 'emptyRows' | 'domainStatistics' | 'shards'> {
    const statistics = new Map<string, DomainStatistics>();
    for (const record of this.records) {
      for (const [domain, part] of Object.entries(record.statistics)) {
        const sum = statistics.get(domain) ?? { documents: 0, tokens: 0, bytes: 0 };
        sum.documents += part.documents;
        sum.tokens += part.tokens;
        sum.bytes += part.bytes;
        statistics.set(domain, sum);
      }
    }
    const domains = [...this.domains.keys()];
    return {
      domains,
      documents: this.documents,
      tokens: this.tokens,
      emptyRows: this.rowsDone - this.documents,
      domainStatistics: Object.fromEntries(
        domains.map((domain) => {
          const sum = statistics.get(domain) as DomainStatistics;
          const textTokens = sum.tokens - sum.documents;
          return [domain, { ...sum, bytesPerToken: textTokens === 0 ? 0 : sum.bytes / textTokens }];
        }),
      ),
      shards: this.records.map(({ shard }) => shard),
    };
  }

  private domainIndex(name: string): number {
    const known = this.domains.get(name);
    if (known !== undefined) return known;
    const index = this.domains.size;
    if (index === 256) {
      throw new TokenizerError(
        'INVALID_CORPUS',
        `The corpus has more than 256 domains; the next is ${JSON.stringify(name)}.`,
        {
          value: name,
          remedy: 'Group them, or name another domain column.',
        },
      );
    }
    this.domains.set(name, index);
    return index;
  }

  private async close(rowsDone: number, rows: RowBatches | undefined): Promise<void> {
    const record = await (this.writer as ShardWriter).finish({
      rowsDone,
      emptyRows: rowsDone - this.documents,
      domains: [...this.domains.keys()],
      ...(rows === undefined ? {} : { rowsSha256: rows.digestAfter(rowsDone) }),
    });
    this.writer = undefined;
    this.records.push(record);
    this.rowsDone = rowsDone;
  }
}
