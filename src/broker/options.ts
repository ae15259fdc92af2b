/** What a broker is started with. */
import type { Logger } from 'pino';
import type { BackplaneError } from '../errors.js';
import type { FileOps } from '../storage/file-ops.js';
import type { AccessOptions } from './access/access-files.js';
import type { TlsFiles } from './access/tls/server-tls.js';
import type { PublisherOptions } from './app/publisher.js';
import type { GroupTimes } from './groups/group.js';
import type { GroupRetention } from './groups/groups.js';
import type { DocumentBounds } from './log/documents/document-logs.js';
import type { FsyncMode } from './log/embedded/embedded-log.js';
import type { NatsOptions } from './nats/connect.js';

/** Of the HTTP port. */
export interface HttpBounds {
  readonly connections: number;
  /** Connections that may carry streams of events. */
  readonly streams: number;
}

/** Where the log is, if NATS keeps it, and what brokers agree on. */
export interface NatsLogOptions extends NatsOptions {
  readonly cluster: string;
  /** http://host:port of each server's monitoring; without them it is unknown what a power cut may lose. */
  readonly monitors?: readonly string[];
  /** The log is gone, or another one, or a server is one that no broker may use: the broker cannot go on. */
  readonly onLost: (reason: BackplaneError) => void;
}

export interface BrokerOptions {
  /** The broker writes to `broker/` below this directory, and its token file into it. */
  readonly dataDir: string;
  /** host:port; port 0 chooses a free port. */
  readonly grpcListen: string;
  readonly httpListen: string;
  /** Origins of pages of other sites that HTTP serves; none by default. */
  readonly httpOrigins?: readonly string[];
  /** HTTP_CONNECTIONS_MAX and HTTP_STREAMS_MAX by default. */
  readonly httpBounds?: HttpBounds | undefined;
  /** Both ports use TLS, with this certificate; undefined: nothing is encrypted. */
  readonly tls?: TlsFiles | undefined;
  /** Allows listening on addresses beyond loopback, without encryption. */
  readonly insecure: boolean;
  /** Calls must carry the token in DATA_DIR/token, which is made if it is missing. */
  readonly token: boolean;
  /** Who may do what besides the holder of that token; nobody by default. */
  readonly access?: Partial<Pick<AccessOptions, 'tokensFile' | 'rolesFile' | 'webTokens'>>;
  readonly log: {
    readonly bytesMax: number;
    readonly ageMsMax: number;
    readonly fsync: FsyncMode;
    /** File operations of the log; the real file system by default. */
    readonly files?: FileOps;
  };
  /** In place of the log of the data directory. */
  readonly nats?: NatsLogOptions | undefined;
  /** Size and age of the logs of documents, and what may be published; by default as the settings have it. */
  readonly documents?: DocumentBounds;
  readonly publishing?: PublisherOptions;
  /** How groups treat their members, and how long they outlive them; the defaults otherwise. */
  readonly groups?: (GroupTimes & GroupRetention) | undefined;
  /** Bytes per second that all nodes together may send live; undefined if there is no ceiling. */
  readonly ceilingBytesPerSecond?: number | undefined;
  readonly version: string;
  /** Other brokers of its cluster that take agents and subscribers now; without it there are none. */
  readonly others?: (() => number) | undefined;
  /** Reason why the broker is not ready at first, until Broker.waitsFor() changes it. */
  readonly waitsFor?: string;
  readonly logger: Logger;
  /** Told each second how many agents and subscribers are connected. */
  readonly connected?: ((count: number) => void) | undefined;
}
