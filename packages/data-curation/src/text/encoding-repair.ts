/**
 * Encoding repair: bytes → clean text. UTF-8 with a byte-order mark, UTF-16 with one, and Windows-1252 where the bytes are not UTF-8
 * but read well in it; UTF-8 that was decoded as Windows-1252 and encoded again ("Ã©" for "é") is undone. Line ends become line
 * feeds, control characters go, text is composed (NFC). Cost: a few passes over the text; nothing for plain ASCII but a scan.
 */

import { replaceInPieces } from './replace-pieces.js';

export interface RepairedText {
  text: string;
  /** What was done, for the report; empty for text that was clean. */
  repairs: string[];
}

const utf8 = new TextDecoder('utf-8', { fatal: true });
const looseUtf8 = new TextDecoder('utf-8');

/**
 * Windows-1252 from 0x80 to 0x9f; the five unassigned bytes stand for themselves. Written out, because the decoder of
 * some Node versions takes the encoding for Latin-1.
 */
const upperWindows1252 =
  '\u20ac\u0081\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u008d\u017d\u008f' +
  '\u0090\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\u009d\u017e\u0178';

/** Undefined when the bytes are binary data: a NUL byte outside UTF-16, or too many bytes that no encoding explains. */
export function decodeBytes(bytes: Uint8Array): RepairedText | undefined {
  if (bytes.length >= 2 && bytes[0] === 0xff && bytes[1] === 0xfe) {
    return repaired(new TextDecoder('utf-16le').decode(bytes), ['UTF-16 decoded']);
  }
  if (bytes.length >= 2 && bytes[0] === 0xfe && bytes[1] === 0xff) {
    return repaired(new TextDecoder('utf-16be').decode(bytes), ['UTF-16 decoded']);
  }
  if (bytes.includes(0)) return undefined;
  try {
    return repaired(utf8.decode(bytes), []);
  } catch {
    const loose = looseUtf8.decode(bytes);
    const broken = countCharacter(loose, '\ufffd');
    if (broken > 0.1 * loose.length) return undefined;
    // A single stray byte in otherwise multi-byte UTF-8 is damage; no multi-byte sequence at all is another encoding.
    const multiByte = /[\u0080-\ufffc]/.test(loose);
    return multiByte
      ? repaired(loose, ['invalid UTF-8 replaced'])
      : repaired(decodeWindows1252(bytes), ['Windows-1252 decoded']);
  }
}

/** Repairs text that is decoded already (JSON, Parquet). */
export function repairText(text: string): RepairedText {
  return repaired(text, []);
}

function repaired(input: string, repairs: string[]): RepairedText {
  let text = input;
  if (text.charCodeAt(0) === 0xfeff) text = text.slice(1);
  if (/[\u00c2-\u00f4][\u0080-\u00bf\u0152-\u02dc\u2013-\u2122]/.test(text)) {
    const undone = undoDoubleEncoding(text);
    if (undone !== text) repairs.push('double encoding undone');
    text = undone;
  }
  if (text.includes('\r')) {
    text = replaceInPieces(
      text,
      (before, after) => before !== 13 || after !== 10,
      (piece) => piece.replace(/\r\n?/g, '\n'),
    );
  }
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  const controls = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u0084\u0086-\u009f\ufeff\ufffe\uffff]/g;
  if (controls.test(text)) {
    text = replaceInPieces(
      text,
      () => true,
      (piece) => piece.replace(controls, ''),
    );
    repairs.push('control characters removed');
  }
  if (!text.isWellFormed()) {
    text = text.toWellFormed();
    repairs.push('unpaired surrogates replaced');
  }
  if (/[^\u0000-\u02ff]/.test(text)) text = text.normalize('NFC'); // eslint-disable-line no-control-regex -- a range of plain text
  return { text, repairs };
}

function decodeWindows1252(bytes: Uint8Array): string {
  const latin1 = Buffer.from(bytes).toString('latin1');
  return replaceInPieces(
    latin1,
    () => true,
    (piece) => piece.replace(/[\u0080-\u009f]/g, (character) => upperWindows1252[character.charCodeAt(0) - 0x80]),
  );
}

/** Character → its byte in Windows-1252, or in Latin-1 where a program took the one for the other. */
const bytesOfWindows1252 = new Map<number, number>();
for (let byte = 0x80; byte <= 0xff; byte++) {
  bytesOfWindows1252.set(byte, byte);
  if (byte < 0xa0) bytesOfWindows1252.set(upperWindows1252.charCodeAt(byte - 0x80), byte);
}

/** Replaces each maximal run of non-ASCII Windows-1252 characters whose bytes are valid UTF-8 by what they spell. */
function undoDoubleEncoding(text: string): string {
  return replaceInPieces(text, (before) => before < 0x80, undoInPiece);
}

function undoInPiece(text: string): string {
  return text.replace(/[\u0080-\u2122]{2,}/g, (run) => {
    const bytes = new Uint8Array(run.length);
    for (let index = 0; index < run.length; index++) {
      const byte = bytesOfWindows1252.get(run.charCodeAt(index));
      if (byte === undefined) return run;
      bytes[index] = byte;
    }
    try {
      return utf8.decode(bytes);
    } catch {
      return run;
    }
  });
}

function countCharacter(text: string, character: string): number {
  let count = 0;
  for (let at = text.indexOf(character); at !== -1; at = text.indexOf(character, at + 1)) count++;
  return count;
}
