/**
 * Opens the source of a recording. Where an agent of an earlier version was killed, its probes may stand under our names
 * and record something else: what they left is recorded as theirs, and the source is started again with its own.
 */
import type { AgentOptions } from './agent-options.js';
import { originOf } from './recorder/origin.js';
import type { Recorder } from './recorder/recorder.js';
import { type OpenedSource, openSource } from './source/open-source.js';
import type { SourceSink } from './source/source.js';

/** What the source noted, for people. */
export interface Note {
  readonly reason: string;
  readonly message: string;
}

export interface OpenedRecording extends OpenedSource {
  /** The kernel went on recording since the previous agent. */
  readonly adopted: boolean;
}

/** `notes`: what the sink was given of them. Whoever begins behind what was replaced states an unknown loss. */
export async function openRecorded(
  recorder: Recorder,
  options: AgentOptions,
  sink: SourceSink,
  notes: Note[],
): Promise<OpenedRecording> {
  const open = async () => {
    const opened = await openSource(recorder.id, options.source, sink, options.log);
    return { ...opened, adopted: notes.some(({ reason }) => reason === 'instance_adopted') };
  };
  const opened = await open();
  const { source, adopted } = opened;
  const { length = 0 } = source.outdated ?? [];
  if (length === 0 || source.retire === undefined) return opened;
  recorder.begin(originOf(recorder.timeline.origin, adopted, source, source.degraded, options), source.clock());
  await source.retire();
  notes.length = 0;
  sink.note('probes_replaced', `${length} probes of an earlier version were defined anew`);
  return open();
}
