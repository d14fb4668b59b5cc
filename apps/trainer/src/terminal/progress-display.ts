/**
 * Shows long work: one rewritten line on a terminal, a plain line now and then elsewhere. Rate and time left come from
 * the events themselves, measured from where this process began (a resumed task doesn't count what was done before).
 * Costs a few microseconds an event; output is limited to ten lines a second on a terminal, one in ten seconds elsewhere.
 */
import { formatCount, formatDuration } from './format.js';

export interface ProgressEvent {
  task: string;
  completed: number;
  total?: number;
  unit: string;
  detail?: string;
}

export interface ProgressDisplay {
  update(event: ProgressEvent): void;
  /** Prints a line of its own, keeping the progress line below it. */
  line(text: string): void;
  /** Ends the current task's line. */
  finish(): void;
}

interface TaskState {
  task: string;
  startedAt: number;
  startedFrom: number;
  shownAt: number;
  last: ProgressEvent;
}

export function progressLine(event: ProgressEvent, elapsedSeconds: number, startedFrom: number): string {
  const done = event.completed - startedFrom;
  const rate = elapsedSeconds > 0 ? done / elapsedSeconds : 0;
  const parts = [event.task];
  if (event.total !== undefined && event.total > 0) {
    const share = Math.min(1, event.completed / event.total);
    parts.push(
      `${Math.floor(share * 100)} %`,
      `${formatCount(event.completed)}/${formatCount(event.total)} ${event.unit}`,
    );
  } else {
    parts.push(`${formatCount(event.completed)} ${event.unit}`);
  }
  if (rate > 0 && elapsedSeconds >= 0.5) {
    parts.push(`${formatCount(rate)} ${event.unit}/s`);
    if (event.total !== undefined && event.completed < event.total) {
      parts.push(`${formatDuration((event.total - event.completed) / rate)} left`);
    }
  }
  if (event.detail) parts.push(event.detail);
  return parts.join(' · ');
}

export function createProgressDisplay(stream: NodeJS.WriteStream, quiet = false): ProgressDisplay {
  const interactive = stream.isTTY === true;
  const minimumGap = interactive ? 100 : 10_000;
  let state: TaskState | undefined;
  let lineIsOpen = false;

  const clear = (): void => {
    if (lineIsOpen) stream.write('\r\x1b[2K');
    lineIsOpen = false;
  };
  const draw = (now: number): void => {
    if (!state || quiet) return;
    state.shownAt = now;
    const text = progressLine(state.last, (now - state.startedAt) / 1000, state.startedFrom);
    if (interactive) {
      const width = Math.max(20, stream.columns ?? 80);
      stream.write(`\r\x1b[2K  ${text.length > width - 4 ? `${text.slice(0, width - 5)}…` : text}`);
      lineIsOpen = true;
    } else {
      stream.write(`  ${text}\n`);
    }
  };

  return {
    update(event) {
      const now = performance.now();
      if (state?.task !== event.task) {
        this.finish();
        state = { task: event.task, startedAt: now, startedFrom: event.completed, shownAt: -Infinity, last: event };
        // Elsewhere than on a terminal the first line waits: short tasks then print only their end.
        if (interactive) draw(now);
        else state.shownAt = now;
        return;
      }
      state.last = event;
      if (now - state.shownAt >= minimumGap) draw(now);
    },
    line(text) {
      clear();
      stream.write(`${text}\n`);
      if (interactive && state) draw(performance.now());
    },
    finish() {
      if (!state) return;
      const now = performance.now();
      if (now - state.startedAt >= 1000 || interactive) draw(now);
      if (lineIsOpen) stream.write('\n');
      lineIsOpen = false;
      state = undefined;
    },
  };
}
