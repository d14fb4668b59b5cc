import { describe, expect, it } from 'vitest';
import { createProgressDisplay, progressLine } from './progress-display.js';

describe('progressLine', () => {
  it('gives share, rate and time left, counting only what this process did', () => {
    const event = { task: 'pretrain', completed: 600, total: 1000, unit: 'steps' };
    expect(progressLine(event, 10, 500)).toBe('pretrain · 60 % · 600/1000 steps · 10 steps/s · 40 s left');
  });

  it('leaves out what it cannot know', () => {
    expect(progressLine({ task: 'read', completed: 5, unit: 'files' }, 0, 0)).toBe('read · 5 files');
  });
});

describe('createProgressDisplay', () => {
  const record = (tty: boolean) => {
    const written: string[] = [];
    const stream = { isTTY: tty, columns: 60, write: (text: string) => written.push(text) > 0 };
    return { written, display: createProgressDisplay(stream as unknown as NodeJS.WriteStream) };
  };

  it('rewrites one line on a terminal, cut to its width', () => {
    const { written, display } = record(true);
    display.update({ task: 'a-task', completed: 1, total: 10, unit: 'documents', detail: 'x'.repeat(100) });
    display.finish();
    expect(written.every((text) => text === '\n' || text.startsWith('\r\x1b[2K'))).toBe(true);
    expect(written[0].replace('\r\x1b[2K', '').length).toBeLessThanOrEqual(60);
    expect(written.at(-1)).toBe('\n');
  });

  it('writes no control characters elsewhere', () => {
    const { written, display } = record(false);
    for (let i = 0; i < 100; i++) display.update({ task: 'a-task', completed: i, total: 100, unit: 'steps' });
    display.line('done');
    display.finish();
    expect(written.join('')).toBe('done\n');
  });
});
