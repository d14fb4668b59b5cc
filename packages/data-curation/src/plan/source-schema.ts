/** The kinds of sources a plan may name. */

import { z } from 'zod';

const common = {
  /** Appears in the `source` column and at the front of every id. */
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'letters, digits, dots, hyphens and underscores'),
  /** The domain of every document of this source; default: classified document by document. */
  domain: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,31}$/, 'lower-case letters, digits and hyphens')
    .optional(),
};

const patterns = {
  /** Glob patterns over the path inside `path`, with forward slashes. */
  include: z.array(z.string().min(1)).min(1).default(['**/*']),
  exclude: z.array(z.string().min(1)).default(['**/.git/**']),
};

const located = {
  /** A file, or a folder with patterns. Either this or `urls`. */
  path: z.string().min(1).optional(),
  /** Files to download, http or https; see `huggingFaceParquetUrls`. */
  urls: z
    .array(z.url({ protocol: /^https?$/ }))
    .min(1)
    .optional(),
};

function hasOneLocation(source: { path?: string; urls?: string[] }): boolean {
  return (source.path === undefined) !== (source.urls === undefined);
}

const oneLocation = 'give either path or urls';

const textFields = {
  /** Name of the field or column holding the text. */
  textField: z.string().min(1).default('text'),
  /** Field holding the licence (SPDX), if any. */
  licenseField: z.string().min(1).optional(),
  /** SPDX identifier of all documents that have no field. */
  license: z.string().min(1).optional(),
  /** Share of documents to read, chosen by the hash of the id. */
  sampleFraction: z.number().gt(0).max(1).default(1),
};

/** A folder of text and code, one document a file. Symbolic links are never followed: no cycle, each real file once. */
export const folderSourceSchema = z.strictObject({
  type: z.literal('folder'),
  ...common,
  path: z.string().min(1),
  ...patterns,
  /** Larger files are counted and not read. */
  maximumFileBytes: z
    .int()
    .min(1)
    .default(1024 * 1024),
  /** Whether HTML files become text: their content without menus and the like, maths as TeX, code as code. */
  convertHtml: z.boolean().default(true),
  /** Reads files in the order of their hash until this many bytes are reached. */
  byteBudget: z.int().min(1).optional(),
  /** An SPDX identifier for all files, or `detect`: from an SPDX comment, else the nearest package.json or LICENSE file. */
  license: z.string().min(1).default('detect'),
});

/** JSON Lines, plain, gzip (`.gz`) or Zstandard (`.zst`): a file, or a folder with patterns. */
export const jsonlSourceSchema = z
  .strictObject({
    type: z.literal('jsonl'),
    ...common,
    ...located,
    ...patterns,
    include: z
      .array(z.string().min(1))
      .min(1)
      .default(['**/*.{jsonl,ndjson,jsonl.gz,json.gz,ndjson.gz,jsonl.zst,ndjson.zst}']),
    ...textFields,
    /** Longer lines are bad input. Workers hold several copies of a document: see `memoryLimit`. */
    maximumLineBytes: z
      .int()
      .min(1024)
      .default(8 * 1024 * 1024),
  })
  .refine(hasOneLocation, oneLocation);

/** Web archives: WARC (`response` records holding HTML or plain text) and WET (`conversion` records), plain or compressed. */
export const warcSourceSchema = z
  .strictObject({
    type: z.literal('warc'),
    ...common,
    ...located,
    ...patterns,
    include: z.array(z.string().min(1)).min(1).default(['**/*.{warc,wet,warc.gz,wet.gz,warc.zst,wet.zst}']),
    license: z.string().min(1).optional(),
    sampleFraction: z.number().gt(0).max(1).default(1),
    /** Larger records are counted and not read. */
    maximumRecordBytes: z
      .int()
      .min(1024)
      .default(8 * 1024 * 1024),
    /** Whether to leave out menus, footers and the like; else all visible text is taken. */
    removeBoilerplate: z.boolean().default(true),
  })
  .refine(hasOneLocation, oneLocation);

/** Parquet: a file, or a folder with patterns. */
export const parquetSourceSchema = z
  .strictObject({
    type: z.literal('parquet'),
    ...common,
    ...located,
    ...patterns,
    include: z.array(z.string().min(1)).min(1).default(['**/*.parquet']),
    ...textFields,
    /** Rows with a longer text are counted and not read. */
    maximumDocumentBytes: z
      .int()
      .min(1024)
      .default(8 * 1024 * 1024),
  })
  .refine(hasOneLocation, oneLocation);

/** Pages of worked maths problems from the generator; see `generateMathDocuments`. */
export const mathSourceSchema = z.strictObject({
  type: z.literal('mathProblems'),
  ...common,
  domain: common.domain.default('maths'),
  seed: z.int().min(0).default(0),
  documents: z.int().min(1),
  difficulty: z
    .array(z.literal([1, 2, 3]))
    .min(1)
    .default([1, 2]),
  problemsPerDocument: z.tuple([z.int().min(1), z.int().min(1)]).default([4, 12]),
  /** Has to equal that of the held-out problems used later. */
  heldoutFraction: z.number().min(0).max(0.5).default(0.05),
});

export const sourceSchema = z.discriminatedUnion('type', [
  folderSourceSchema,
  jsonlSourceSchema,
  parquetSourceSchema,
  warcSourceSchema,
  mathSourceSchema,
]);

export type SourcePlan = z.output<typeof sourceSchema>;
export type FolderSourcePlan = z.output<typeof folderSourceSchema>;
export type JsonlSourcePlan = z.output<typeof jsonlSourceSchema>;
export type ParquetSourcePlan = z.output<typeof parquetSourceSchema>;
export type WarcSourcePlan = z.output<typeof warcSourceSchema>;
export type MathSourcePlan = z.output<typeof mathSourceSchema>;
