import { describe, expect, it } from 'vitest';
import { decodeBytes, repairText } from './encoding-repair.js';

const bytes = (text: string, encoding: BufferEncoding = 'utf8') => Buffer.from(text, encoding);

describe('decodeBytes', () => {
  it('leaves clean UTF-8 alone', () => {
    expect(decodeBytes(bytes('plain text, naïve café, 漢字 🙂\n'))).toEqual({
      text: 'plain text, naïve café, 漢字 🙂\n',
      repairs: [],
    });
  });

  it('drops a byte-order mark and unifies line ends', () => {
    expect(decodeBytes(bytes('\ufeffone\r\ntwo\rthree\n'))).toEqual({ text: 'one\ntwo\nthree\n', repairs: [] });
  });

  it('reads UTF-16 by its byte-order mark', () => {
    expect(decodeBytes(bytes('\ufeffwide é', 'utf16le'))).toEqual({ text: 'wide é', repairs: ['UTF-16 decoded'] });
    const bigEndian = bytes('\ufeffwide é', 'utf16le').swap16();
    expect(decodeBytes(bigEndian)).toEqual({ text: 'wide é', repairs: ['UTF-16 decoded'] });
  });

  it('reads Windows-1252 when the bytes are not UTF-8', () => {
    const latin = Buffer.concat([bytes('The price is 5 '), Buffer.of(0x80), bytes(' and the caf'), Buffer.of(0xe9)]);
    expect(decodeBytes(latin)).toEqual({ text: 'The price is 5 € and the café', repairs: ['Windows-1252 decoded'] });
  });

  it('replaces a broken byte inside real UTF-8', () => {
    const broken = Buffer.concat([bytes('漢字 and '), Buffer.of(0xff), bytes(' more ordinary text')]);
    expect(decodeBytes(broken)).toEqual({
      text: '漢字 and \ufffd more ordinary text',
      repairs: ['invalid UTF-8 replaced'],
    });
  });

  it('takes binary data for what it is', () => {
    expect(decodeBytes(Uint8Array.of(1, 2, 0, 4))).toBeUndefined();
    expect(decodeBytes(Uint8Array.from({ length: 200 }, (_, index) => 128 + (index % 64)))).toBeUndefined();
  });
});

describe('repairText', () => {
  it('undoes UTF-8 read as Windows-1252', () => {
    // Spelled out: the UTF-8 bytes of the text, each shown as its Windows-1252 character.
    const twice = 'â€œnaÃ¯veâ€\u009d cafÃ© â€“ 5 â‚¬';
    expect(repairText(twice)).toEqual({ text: '“naïve” café – 5 €', repairs: ['double encoding undone'] });
    const asLatin1 = bytes('“naïve” – 5 €').toString('latin1');
    expect(repairText(asLatin1)).toEqual({ text: '“naïve” – 5 €', repairs: ['double encoding undone'] });
  });

  it('does not touch text that only looks unusual', () => {
    for (const text of ['Ã alone', 'São Paulo, Åse, Ærø', '«Ça va»', 'x² ± 3·y', 'Größe: 5 €']) {
      expect(repairText(text)).toEqual({ text, repairs: [] });
    }
  });

  it('removes control characters, composes letters, replaces unpaired surrogates', () => {
    expect(repairText('a\u0000b\u0007c\td\n')).toEqual({ text: 'abc\td\n', repairs: ['control characters removed'] });
    expect(repairText('cafe\u0301').text).toBe('café');
    expect(repairText('half \ud83d pair')).toEqual({
      text: 'half \ufffd pair',
      repairs: ['unpaired surrogates replaced'],
    });
  });
});
