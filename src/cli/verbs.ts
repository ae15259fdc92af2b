/** The verbs of the command line, each with the file that has its flags and does it. */
import type { ChildProcess } from 'node:child_process';
import { Command } from 'commander';
import { packageVersion } from '../package-files.js';
import { addExamples } from './examples.js';

/** What a verb's file exports as `define`: its flags, arguments and action. `agent`: for `up`, where it was started already. */
type Define = (command: Command, agent?: ChildProcess) => void;

export interface Verb {
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<{ readonly define: Define }>;
}

const VERBS: readonly Verb[] = [
  { name: 'up', summary: "run a broker and this node's agent", load: () => import('./process/up.js') },
  { name: 'broker', summary: 'run a broker', load: () => import('./process/broker.js') },
  { name: 'agent', summary: "run this node's agent", load: () => import('./process/agent.js') },
  { name: 'observe', summary: 'show events, from the past and live', load: () => import('./observe/observe.js') },
  { name: 'publish', summary: 'publish events of your own', load: () => import('./publish.js') },
  { name: 'nodes', summary: 'list the nodes and what they record', load: () => import('./lists/nodes.js') },
  { name: 'topics', summary: 'list the topics and their event types', load: () => import('./lists/topics.js') },
  { name: 'subscriptions', summary: 'list who is subscribed to what', load: () => import('./lists/subscriptions.js') },
  { name: 'groups', summary: 'list groups and how far behind they are', load: () => import('./lists/groups.js') },
  {
    name: 'top',
    summary: 'show what nodes and subscriptions do per second',
    load: () => import('./top/top.js'),
  },
  { name: 'status', summary: 'show the state of a broker', load: () => import('./lists/status.js') },
  {
    name: 'retire',
    summary: 'send agents and subscribers of a broker to others',
    load: () => import('./lists/retire.js'),
  },
  {
    name: 'doctor',
    summary: 'try what this node can record, and say what is missing',
    load: () => import('./doctor.js'),
  },
  { name: 'tokens', summary: 'issue, list and revoke tokens of identities', load: () => import('./tokens/tokens.js') },
  {
    name: 'config',
    summary: 'print the configuration in force and where it comes from',
    load: () => import('./config.js'),
  },
  {
    name: 'certs',
    summary: 'make certificates for TLS, and tokens by which nodes join',
    load: () => import('./certs/certs.js'),
  },
  {
    name: 'cluster',
    summary: 'make, compare and change the streams of brokers on NATS',
    load: () => import('./cluster/cluster.js'),
  },
  {
    name: 'decode',
    summary: 'print a capture of raw trace pages as JSON lines',
    load: () => import('./decode-capture.js'),
  },
];

/**
 * The whole command line, of which only the wanted verb has flags and does something, because each loads much; or every
 * verb ('all'). `completion` knows all others, so that it is not among them here.
 */
export async function commandLine(
  wanted: string | undefined,
  completion: Verb,
  agent?: ChildProcess,
): Promise<Command> {
  const program = new Command('backplane');
  program
    .description(
      'A messaging backplane for kernel telemetry: nodes record, subscribers ask, what was asked for travels.',
    )
    .version(packageVersion(), '-V, --version')
    .showHelpAfterError(false)
    .exitOverride()
    // Commander's complaint is reported with every other error, once.
    .configureOutput({ outputError: () => {} });
  for (const verb of [...VERBS, completion]) {
    const command = program.command(verb.name).description(verb.summary);
    command.exitOverride().configureOutput({ outputError: () => {} });
    if (verb.name !== wanted && wanted !== 'all') continue;
    (await verb.load()).define(command, agent);
    addExamples(command);
  }
  return program;
}
