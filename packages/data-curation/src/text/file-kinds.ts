/** What a file name says about its content: programming language, or prose markup. Cost: O(1). */

const codeLanguages: Readonly<Record<string, string>> = {
  c: 'c',
  h: 'c',
  cc: 'c++',
  cpp: 'c++',
  cxx: 'c++',
  hpp: 'c++',
  hh: 'c++',
  cu: 'cuda',
  cuh: 'cuda',
  cs: 'c#',
  css: 'css',
  scss: 'css',
  less: 'css',
  go: 'go',
  hs: 'haskell',
  java: 'java',
  js: 'javascript',
  mjs: 'javascript',
  cjs: 'javascript',
  jsx: 'javascript',
  jl: 'julia',
  json: 'json',
  json5: 'json',
  jsonc: 'json',
  kt: 'kotlin',
  lua: 'lua',
  m: 'objective-c',
  ml: 'ocaml',
  php: 'php',
  pl: 'perl',
  pm: 'perl',
  proto: 'protobuf',
  py: 'python',
  pyi: 'python',
  r: 'r',
  rb: 'ruby',
  rs: 'rust',
  scala: 'scala',
  sh: 'shell',
  bash: 'shell',
  zsh: 'shell',
  sql: 'sql',
  svelte: 'svelte',
  swift: 'swift',
  toml: 'toml',
  ts: 'typescript',
  mts: 'typescript',
  cts: 'typescript',
  tsx: 'typescript',
  vue: 'vue',
  xml: 'xml',
  yaml: 'yaml',
  yml: 'yaml',
  zig: 'zig',
  cmake: 'cmake',
};
const proseExtensions = new Set([
  'md',
  'markdown',
  'mdx',
  'rst',
  'txt',
  'adoc',
  'asciidoc',
  'org',
  'html',
  'htm',
  'text',
]);
const proseNames =
  /^(?:readme|changelog|changes|history|contributing|authors|licen[cs]e|copying|notice|news|todo|security)$/i;

/** Lower-case extension without the dot; empty when there is none. */
export function extensionOf(path: string): string {
  const name = path.slice(path.lastIndexOf('/') + 1);
  const dot = name.lastIndexOf('.');
  return dot <= 0 ? '' : name.slice(dot + 1).toLowerCase();
}

/** The programming language that the name says, or undefined. */
export function codeLanguageOf(path: string): string | undefined {
  return codeLanguages[extensionOf(path)];
}

export function isProsePath(path: string): boolean {
  const extension = extensionOf(path);
  if (extension !== '') return proseExtensions.has(extension);
  return proseNames.test(path.slice(path.lastIndexOf('/') + 1));
}
