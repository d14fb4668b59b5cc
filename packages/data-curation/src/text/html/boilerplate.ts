/**
 * Which blocks of a page are its content. Where the page marks its content (`main`, `article`), all of that but blocks of links;
 * else by the jusText rules (Pomikálek 2011, "Removing Boilerplate and Duplicate Content from Web Corpora",
 * chapter 3). A block is good, bad, short or near-good by its length, its share of link text and its share of stop words; short and
 * near-good blocks follow their neighbours. Code and maths are content next to content. English stop words decide only where
 * the page looks English; elsewhere length and links do. Cost: one pass over the blocks.
 */

import type { HtmlBlock } from './html-blocks.js';

type Grade = 'good' | 'near' | 'short' | 'bad';

const shortLength = 70;
const longLength = 200;
const lowStopWords = 0.3;
const highStopWords = 0.32;
const maximumLinks = 0.2;
const headingReach = 150;
const stopWords = new Set(
  `a about after all also an and any are as at be because been but by can could did do does for from had has have he her his how i if in into is it its
  just like may me more most my no not now of on one only or other our out over she should so some such than that the their them then there these they
  this to up us was we were what when where which who will with would you your`.split(/\s+/),
);

/** Less text in the marked part, and the mark is not taken at its word. */
const leastMainText = 200;

export function contentBlocks(blocks: readonly HtmlBlock[]): HtmlBlock[] {
  const main = blocks.filter(({ isMain }) => isMain);
  if (main.reduce((sum, { text }) => sum + text.length, 0) >= leastMainText) {
    return main.filter(({ text, linkCharacters }) => linkCharacters <= 0.5 * text.length);
  }
  const isEnglish =
    stopWordShare(
      blocks
        .map(({ text }) => text)
        .join(' ')
        .slice(0, 20_000),
    ) > 0.2;
  const grades = blocks.map((block) => grade(block, isEnglish));
  const settled = settle(grades);
  return blocks.filter(
    (block, index) => settled[index] === 'good' || (block.kind === 'heading' && leadsContent(blocks, settled, index)),
  );
}

function grade(block: HtmlBlock, isEnglish: boolean): Grade {
  const { text, kind } = block;
  if (kind === 'code') return text.length >= shortLength ? 'near' : 'short';
  if (kind === 'maths') return 'short';
  const links = block.linkCharacters / text.length;
  if (links > maximumLinks) return 'bad';
  if (/©|&copy|all rights reserved/i.test(text) && text.length < longLength) return 'bad';
  if (text.length < shortLength) return links > 0 ? 'bad' : 'short';
  const stops = isEnglish ? stopWordShare(text) : 1;
  if (stops >= highStopWords) return text.length > longLength ? 'good' : 'near';
  if (stops >= lowStopWords) return 'near';
  // Running text about formulas has few stop words.
  return /\$[^$\n]+\$/.test(text) ? 'near' : 'bad';
}

/** Short and near-good blocks become good or bad by the nearest decided blocks around them. */
function settle(grades: readonly Grade[]): Grade[] {
  const result = [...grades];
  for (const [pending, blocked] of [
    ['short', 'near'],
    ['near', ''],
  ] as const) {
    const before = [...result];
    const previousOf = decidedNeighbours(before, blocked !== '');
    const nextOf = decidedNeighbours(before.toReversed(), blocked !== '').reverse();
    for (let index = 0; index < before.length; index++) {
      if (before[index] !== pending) continue;
      const previous = previousOf[index];
      const next = nextOf[index];
      if (pending === 'short') {
        if (previous === 'good' && next === 'good') result[index] = 'good';
        else if (previous === 'bad' && next === 'bad') result[index] = 'bad';
        else result[index] = hasNear(before, index) && (previous === 'good' || next === 'good') ? 'good' : 'bad';
      } else {
        result[index] = previous === 'bad' && next === 'bad' ? 'bad' : 'good';
      }
    }
  }
  return result;
}

/** For each block the grade of the last good or bad one before it (near-good ones count as good where `takeNear`); bad at the start. */
function decidedNeighbours(grades: readonly Grade[], takeNear: boolean): ('good' | 'bad')[] {
  let last: 'good' | 'bad' = 'bad';
  return grades.map((grade) => {
    const before = last;
    if (grade === 'good' || (takeNear && grade === 'near')) last = 'good';
    else if (grade === 'bad') last = 'bad';
    return before;
  });
}

function hasNear(grades: readonly Grade[], index: number): boolean {
  return ['good', 'near'].includes(grades[index - 1]) || ['good', 'near'].includes(grades[index + 1]);
}

/** A heading stays when content follows within a short way. */
function leadsContent(blocks: readonly HtmlBlock[], grades: readonly Grade[], index: number): boolean {
  let distance = 0;
  for (let at = index + 1; at < blocks.length && distance <= headingReach; at++) {
    if (grades[at] === 'good') return true;
    distance += blocks[at].text.length;
  }
  return false;
}

/** Counts word by word: a list of all words of a page may be many times its size. */
function stopWordShare(text: string): number {
  let words = 0;
  let stops = 0;
  for (const [word] of text.toLowerCase().matchAll(/[\p{L}']+/gu)) {
    words++;
    if (stopWords.has(word)) stops++;
  }
  return stops / Math.max(1, words);
}
