import { PosttrainError } from '../errors.js';
export function pending(what: string): never {
  throw new PosttrainError('INVALID_ARGUMENT', `${what} is not built yet.`);
}
