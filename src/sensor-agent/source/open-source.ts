/** Chooses where kernel events come from: tracefs where it can be used, else procfs, saying so. */
import type { Logger } from 'pino';
import { asBackplaneError } from '../../errors.js';
import type { Profile } from '../../subscriptions/pushdown/catalogue.js';
import { COMMAND_LINES } from './command-lines/command-lines.js';
import { ProcfsSource } from './procfs.js';
import type { Source, SourceSink } from './source.js';
import { type SyntheticOptions, SyntheticSource } from './synthetic/synthetic.js';
import { LITE_EVENTS, profileEvents } from './tracefs/profile-events.js';
import { TracefsSource } from './tracefs/tracefs-source.js';

export interface SourceOptions {
  readonly kind: 'auto' | 'tracefs' | 'procfs' | 'synthetic';
  /** Trace events to record besides the default profile, `group/event`. */
  readonly events: readonly string[];
  /** Profiles that may be recorded: `lite` always, the others while somebody asks. */
  readonly profiles: readonly Profile[];
  readonly bufferBytesPerCpu: number;
  /** How arguments of programs are had: the best way that holds, or from /proc. */
  readonly arguments: 'best' | 'visit';
  readonly synthetic: SyntheticOptions;
}

export interface OpenedSource {
  readonly source: Source;
  /** Why tracefs is not used, where it was wanted and failed. */
  readonly fallback: string | undefined;
}

/** Starts the source. With kind `tracefs` a failure is thrown, with `auto` it leads to procfs. */
export async function openSource(
  recorderId: string,
  options: SourceOptions,
  sink: SourceSink,
  log: Logger,
): Promise<OpenedSource> {
  if (options.kind === 'synthetic')
    return { source: await started(new SyntheticSource(options.synthetic), sink), fallback: undefined };
  COMMAND_LINES.begin();
  if (options.kind === 'procfs') return { source: await started(new ProcfsSource(), sink), fallback: undefined };
  const tracefs = new TracefsSource({
    recorderId,
    bufferBytesPerCpu: options.bufferBytesPerCpu,
    events: [...LITE_EVENTS, ...options.events],
    onDemand: options.profiles.flatMap((profile) => (profile === 'lite' ? [] : profileEvents(profile))),
    arguments: options.arguments,
  });
  try {
    return { source: await started(tracefs, sink), fallback: undefined };
  } catch (cause) {
    if (options.kind === 'tracefs') throw cause;
    const { message } = asBackplaneError(cause);
    log.warn(`tracefs cannot be used, falling back to procfs: ${message}`);
    return { source: await started(new ProcfsSource(), sink), fallback: message };
  }
}

async function started(source: Source, sink: SourceSink): Promise<Source> {
  await source.start(sink);
  return source;
}
