/** What options and arguments may hold; anything else is refused before a command begins. */
import { InvalidArgumentError } from 'commander';

export function wholeNumber(value: string): number {
  const number = Number(value);
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(number)) {
    throw new InvalidArgumentError('give a whole number, 0 or more');
  }
  return number;
}

export function positiveInteger(value: string): number {
  if (!/^0*[1-9]\d*$/.test(value) || !Number.isSafeInteger(Number(value))) {
    throw new InvalidArgumentError('give a whole number, 1 or more');
  }
  return Number(value);
}

/** For an option that may be given again. */
export function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}
