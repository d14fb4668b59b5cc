/** A global pattern that matches any of some texts: the leftmost, and of those the longest. `texts` must not be empty. */
export function alternation(texts: readonly string[]): RegExp {
  // Alternatives are tried in order, so the longest goes first.
  const ordered = [...texts].sort((a, b) => b.length - a.length);
  return new RegExp(ordered.map((text) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')).join('|'), 'g');
}
