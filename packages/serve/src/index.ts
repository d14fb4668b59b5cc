import type { Server, ServerOptions } from './types.js';

export { ServeError, type ServeErrorCode, type ServeErrorDetails } from './errors.js';
export type {
  ListenAddress,
  RequestEvent,
  ServeChatTemplate,
  ServeMessage,
  Server,
  ServerLimits,
  ServerOptions,
  ServeTokenizer,
} from './types.js';

// Signature; the definition follows in this package's next commit.
export declare function createServer(options: ServerOptions): Server;
