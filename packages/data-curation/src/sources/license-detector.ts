/**
 * The licence of a file: an `SPDX-License-Identifier` in its first lines, else the `license` field of the nearest
 * package.json or the wording of the nearest LICENSE file, going up to the root of the source. Symbolic links are not followed, which may lead
 * out of the source, and of a file the beginning is enough. Answers are cached by folder.
 */

import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';

const spdxComment = /SPDX-License-Identifier:\s*([^\n*]+?)\s*(?:\*\/|-->|$)/m;

export class LicenseDetector {
  readonly #root: string;
  readonly #byFolder = new Map<string, Promise<string | undefined>>();

  constructor(root: string) {
    this.#root = root;
  }

  /** An SPDX identifier or expression, or `unknown`. `path` is relative to the root. */
  async licenseOf(path: string, text: string): Promise<string> {
    const comment = spdxComment.exec(text.slice(0, 2000));
    if (comment !== null) return comment[1];
    for (let folder = parent(path); ; folder = parent(folder)) {
      const found = await this.#ofFolder(folder);
      if (found !== undefined) return found;
      if (folder === '') return 'unknown';
    }
  }

  #ofFolder(folder: string): Promise<string | undefined> {
    let answer = this.#byFolder.get(folder);
    if (answer === undefined) {
      answer = this.#read(join(this.#root, folder));
      this.#byFolder.set(folder, answer);
    }
    return answer;
  }

  async #read(folder: string): Promise<string | undefined> {
    const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
    const names = entries.filter((entry) => entry.isFile()).map(({ name }) => name);
    if (names.includes('package.json')) {
      const license = licenseField(await beginningOf(join(folder, 'package.json')));
      if (license !== undefined) return license;
    }
    const file = names.filter((name) => /^(?:licen[cs]e|copying|unlicense)(?:[-_.].*)?$/i.test(name)).sort()[0];
    return file === undefined ? undefined : recognizeLicense(await beginningOf(join(folder, file)));
  }
}

const beginningBytes = 256 * 1024;

/** Empty for a file that cannot be read. */
async function beginningOf(path: string): Promise<string> {
  try {
    const handle = await open(path, 'r');
    try {
      const buffer = Buffer.alloc(beginningBytes);
      const { bytesRead } = await handle.read(buffer, 0, beginningBytes, 0);
      return buffer.toString('utf8', 0, bytesRead);
    } finally {
      await handle.close();
    }
  } catch {
    return '';
  }
}

function parent(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash === -1 ? '' : path.slice(0, slash);
}

function licenseField(json: string): string | undefined {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { license } = value as { license?: unknown };
  if (typeof license === 'string' && license !== '' && !/^see licen[cs]e/i.test(license)) return license;
  if (typeof license === 'object' && license !== null && 'type' in license && typeof license.type === 'string') {
    return license.type;
  }
  return undefined;
}

/** The licence that a text is, by wording that only it has; undefined for a text that is none of the common ones. */
export function recognizeLicense(text: string): string | undefined {
  const flat = text.slice(0, 40_000).toLowerCase().replace(/\s+/g, ' ');
  if (flat.includes('apache license') && flat.includes('version 2.0')) return 'Apache-2.0';
  if (flat.includes('gnu affero general public license')) return 'AGPL-3.0';
  if (flat.includes('gnu lesser general public license')) return 'LGPL-3.0';
  if (flat.includes('gnu general public license')) return flat.includes('version 3') ? 'GPL-3.0' : 'GPL-2.0';
  if (flat.includes('mozilla public license')) return 'MPL-2.0';
  if (flat.includes('redistribution and use in source and binary forms')) {
    return flat.includes('neither the name') ? 'BSD-3-Clause' : 'BSD-2-Clause';
  }
  if (flat.includes('permission is hereby granted, free of charge')) return 'MIT';
  if (flat.includes('permission to use, copy, modify, and/or distribute this software')) {
    return flat.includes('provided that the above copyright notice') ? 'ISC' : '0BSD';
  }
  if (flat.includes('this is free and unencumbered software')) return 'Unlicense';
  if (flat.includes('cc0 1.0 universal')) return 'CC0-1.0';
  if (flat.includes('blue oak model license')) return 'BlueOak-1.0.0';
  return undefined;
}
