export { ServeError, type ServeErrorCode, type ServeErrorDetails } from './errors.js';
export { createServer } from './http/create-server.js';
export type {
  ListenAddress,
  RequestEvent,
  ServeChatTemplate,
  Server,
  ServerLimits,
  ServerOptions,
  ServeTokenizer,
} from './types.js';
