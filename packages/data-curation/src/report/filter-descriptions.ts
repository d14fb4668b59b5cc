/** One sentence for each step that drops documents, for readers of the report. */

const descriptions: Readonly<Record<string, string>> = {
  size: 'Files above the size limit of their source were not read.',
  decode: 'Empty documents and binary data were dropped.',
  length: 'Very short and very long documents were dropped.',
  language: 'Documents in other natural languages were dropped.',
  license: 'Documents whose licence the plan does not allow were dropped.',
  licenseText: 'Files that are only a licence text were dropped.',
  gopherQuality: 'Prose that does not read like sentences was dropped (rules of Gopher).',
  gopherRepetition: 'Documents that repeat themselves were dropped (rules of Gopher).',
  c4: 'Pages without real sentences were dropped, and lines that are not sentences removed (rules of C4).',
  fineweb: 'List-like and repetitive pages were dropped (rules of FineWeb).',
  decontamination: 'Documents that share text with an evaluation set were dropped.',
  generatedCode: 'Code written by programs was dropped.',
  minifiedCode: 'Minified and packed code was dropped.',
  personalData: 'Personal data was masked.',
  dataBlob: 'Encoded data, tables of numbers and literal lists were dropped.',
};

export function describeFilter(filter: string): string {
  return descriptions[filter] ?? `Documents refused by the filter ${filter} were dropped.`;
}
