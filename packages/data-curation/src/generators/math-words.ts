/** The words that maths problems are dressed in. Changing a list changes every problem: treat it as a format. */

export const personNames = (
  'Ada Alan Alice Amir Anna Ben Bo Carla Chen Clara Daniel Dora Elena Emil Emma Eva Felix Fiona Georg Grace Hana Hugo Ida ' +
  'Igor Iris Ivan Jack Jana Joan Jonas Julia Kai Karin Kofi Lara Leo Lena Liam Lucy Luis Maria Max Mia Milo Nadia Nina Noah ' +
  'Nora Olga Omar Oscar Paula Peter Rosa Ruth Sam Sara Sofia Tariq Tim Tom Vera Yuki Zoe'
).split(' ');

/** Singular and plural. */
export const thingNames: readonly (readonly [string, string])[] = [
  ['apple', 'apples'],
  ['ball', 'balls'],
  ['balloon', 'balloons'],
  ['banana', 'bananas'],
  ['bead', 'beads'],
  ['book', 'books'],
  ['bottle', 'bottles'],
  ['brick', 'bricks'],
  ['button', 'buttons'],
  ['cake', 'cakes'],
  ['candle', 'candles'],
  ['card', 'cards'],
  ['carrot', 'carrots'],
  ['chair', 'chairs'],
  ['coin', 'coins'],
  ['cookie', 'cookies'],
  ['cup', 'cups'],
  ['doll', 'dolls'],
  ['egg', 'eggs'],
  ['flag', 'flags'],
  ['flower', 'flowers'],
  ['hat', 'hats'],
  ['key', 'keys'],
  ['kite', 'kites'],
  ['lamp', 'lamps'],
  ['leaf', 'leaves'],
  ['lemon', 'lemons'],
  ['marble', 'marbles'],
  ['muffin', 'muffins'],
  ['nut', 'nuts'],
  ['orange', 'oranges'],
  ['peach', 'peaches'],
  ['pear', 'pears'],
  ['pen', 'pens'],
  ['pencil', 'pencils'],
  ['plate', 'plates'],
  ['plum', 'plums'],
  ['ribbon', 'ribbons'],
  ['ring', 'rings'],
  ['rock', 'rocks'],
  ['shell', 'shells'],
  ['spoon', 'spoons'],
  ['stamp', 'stamps'],
  ['star', 'stars'],
  ['sticker', 'stickers'],
  ['stone', 'stones'],
  ['ticket', 'tickets'],
  ['toy', 'toys'],
];

/** Singular and plural. */
export const containerNames: readonly (readonly [string, string])[] = [
  ['bag', 'bags'],
  ['basket', 'baskets'],
  ['box', 'boxes'],
  ['bucket', 'buckets'],
  ['crate', 'crates'],
  ['drawer', 'drawers'],
  ['jar', 'jars'],
  ['sack', 'sacks'],
];
