/** Made-up text whose counts are known. */

export const times = (count: number, item: (index: number) => string, separator = ' ') =>
  Array.from({ length: count }, (_, index) => item(index)).join(separator);

/** A word of `length` letters that differs for each index. */
export const word = (index: number, length = 5) => {
  let name = '';
  for (let value = index + 1; name.length < length; value = Math.floor(value / 26) + 7) {
    name += String.fromCharCode(97 + (value % 26));
  }
  return name;
};

/** `the of` and then distinct five-letter words: `count` words. */
export const prose = (count: number) => `the of ${times(count - 2, (index) => word(index))}`;

export const line = (index: number) => `This is sentence number ${word(index)} of the page.`;
export const block = (lines: readonly string[]) => lines.join('\n');
