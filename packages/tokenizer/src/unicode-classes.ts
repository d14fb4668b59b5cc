/** Character classes of all code points, as a table of 1.1 MB built once per thread (about 1 ms). */
import { unicodeClassRuns } from './unicode-class-runs.js';

export const OTHER = 0;
export const LETTER = 1;
export const NUMBER = 2;
/** Whitespace except line feed and carriage return. */
export const SPACE = 3;
/** Line feed and carriage return. */
export const NEWLINE = 4;
/** In `byteClasses` only: the byte starts or continues a longer UTF-8 sequence. */
export const MULTIBYTE = 5;

function expandRuns(): Uint8Array {
  const classes = new Uint8Array(0x110000);
  let position = 0;
  for (const [, kind, length] of unicodeClassRuns.matchAll(/([a-d])([0-9A-Z]+)/g)) {
    const end = position + parseInt(length, 36);
    classes.fill(kind.charCodeAt(0) - 0x61, position, end);
    position = end;
  }
  classes[0x0a] = NEWLINE;
  classes[0x0d] = NEWLINE;
  return classes;
}

/** Class of each code point. */
export const codePointClasses: Uint8Array = expandRuns();

/** Class of each byte of a UTF-8 text: the code point's for ASCII, MULTIBYTE above. */
export const byteClasses: Uint8Array = (() => {
  const classes = new Uint8Array(256).fill(MULTIBYTE);
  classes.set(codePointClasses.subarray(0, 128));
  return classes;
})();
