/** Starts the process of an agent that `up` runs. In a file of its own, because it is loaded before all else. */
import { type ChildProcess, spawn } from 'node:child_process';
import { builtFile } from '../../package-files.js';

/** Set for an agent that waits for an AgentBegin. */
export const AGENT_WAITS = 'BACKPLANE_AGENT_WAITS';

/**
 * Has the C library give large buffers back to the system when they are freed (glibc; others ignore it). Otherwise an
 * agent that has answered large history queries keeps 10 MiB more.
 */
const ALLOCATION = { MALLOC_MMAP_THRESHOLD_: '65536', MALLOC_TRIM_THRESHOLD_: '131072' };

/**
 * Of V8's threads, which compile and collect garbage beside the main one, one instead of four: each keeps a heap of the C
 * library's of its own, 5 to 7 MiB in all. Deployments and ./backplane start brokers so, too.
 */
const THREADS = '--v8-pool-size=1';

/** `environment`: its settings, as environment variables; undefined: it waits for them. */
export function spawnAgent(environment: Readonly<Record<string, string>> = { [AGENT_WAITS]: 'true' }): ChildProcess {
  const child = spawn(process.execPath, [THREADS, builtFile('program/main.js'), 'agent'], {
    env: { ...ALLOCATION, ...foreignEnvironment(), ...environment },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    // A process group of its own: Ctrl-C reaches only `up`, which then stops the agent in order, once.
    detached: true,
  });
  // Whoever takes it over may come later; without a pid it never ran.
  child.on('error', () => {});
  return child;
}

/**
 * The environment without Backplane's own variables: the child gets their settings otherwise, and would repeat warnings
 * about them.
 */
function foreignEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('BACKPLANE_')));
}
