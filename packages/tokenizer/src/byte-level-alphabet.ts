/**
 * The byte-level alphabet of GPT-2: every byte has a printable character that stands for it in `vocab` and `merges`
 * (Radford et al. 2019, section 2.2; the table is the one Hugging Face's `ByteLevel` uses).
 */

function buildAlphabet(): string[] {
  const characters: string[] = [];
  let shifted = 0;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    characters.push(String.fromCharCode(printable ? byte : 256 + shifted++));
  }
  return characters;
}

/** byte → its character. */
export const byteCharacters: readonly string[] = buildAlphabet();

/** UTF-16 code unit → byte, −1 where the character stands for no byte. */
export const characterBytes: Int16Array = (() => {
  const table = new Int16Array(0x10000).fill(-1);
  for (const [byte, character] of byteCharacters.entries()) table[character.charCodeAt(0)] = byte;
  return table;
})();

/** The bytes that a byte-level token stands for, or undefined when a character is not of the alphabet. */
export function tokenToBytes(token: string): Uint8Array | undefined {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = characterBytes[token.charCodeAt(i)];
    if (byte < 0) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}

/** The byte-level token that stands for `bytes[start … end)`. */
export function bytesToToken(bytes: Uint8Array, start = 0, end = bytes.length): string {
  let token = '';
  for (let i = start; i < end; i++) token += byteCharacters[bytes[i]];
  return token;
}
