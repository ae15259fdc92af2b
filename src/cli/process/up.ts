/**
 * `backplane up`: a broker in this process and this node's agent beside it, in
 * a process of its own so that its work and the broker's do not disturb each
 * other. Ends in order on the first signal: the agent first, so that what it
 * still sends is taken in, then the broker.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { Broker } from '../../broker/broker.js';
import { configEnvironment, SETTINGS, type SettingKey, type Settings } from '../../config/settings.js';
import type { Config } from '../../config.js';
import { commandName } from '../command-name.js';
import { checkTogether } from '../connection/tls-settings.js';
import { safeText, shellWord } from '../render/text.js';
import { addSettingFlags, commandConfig } from '../setting-flags.js';
import { AGENT_KEYS, nodeNames } from './agent-options.js';
import { type AgentMessage, AgentProcess } from './agent-process.js';
import { BROKER_KEYS, brokerOptions, httpScheme, warnings } from './broker-options.js';
import { fitYoungGeneration } from './heap.js';
import { watchInterrupt } from './interrupt.js';
import { openLog } from './log.js';

/** Time until the kernel has closed a killed agent's files. */
const AGENT_FILES_MS = 1_000;

/** Printed at each start where servers are named. */
const NOT_ON_NATS = 'nats.servers is for `backplane broker` and `cluster`: `up` keeps its log in its own directory';

/** The agent always uses this broker and its token, so these settings do not apply. */
const UP_KEYS: readonly SettingKey[] = [...new Set([...BROKER_KEYS, ...AGENT_KEYS])].filter(
  (key) => key !== 'brokers' && key !== 'zone' && key !== 'token.file',
);

/** `agent`: the process of an agent that was started already, and waits. */
export function define(command: Command, agent?: ChildProcess): void {
  addSettingFlags(command, UP_KEYS);
  command.action(async () => up(await commandConfig(command, UP_KEYS), agent));
}

async function up({ settings }: Config, waiting: ChildProcess | undefined): Promise<void> {
  const log = openLog(settings, 'broker');
  // Throws the refusal of an agent here, because `up` would otherwise restart that agent for ever.
  const nodes = nodeNames(settings);
  const ca = ownCa(settings);
  // Its process loads its code while this one does.
  const agent = new AgentProcess(log, waiting);
  const { startBroker } = await import('../../broker/broker.js');
  const { removeInstancesOf } = await import('../../sensor-agent/source/tracefs/strays.js');
  // The agent removes its trace instances itself, unless it was killed or never started.
  const removeLeftInstances = () => {
    const removed = removeInstancesOf(join(settings['data.dir'], 'recorder'), AGENT_FILES_MS);
    if (removed.length > 0) log.warn(`the agent left its trace instances: removed ${removed.join(', ')}`);
  };
  let reload = () => false;
  const interrupt = watchInterrupt(
    () => {
      agent.kill();
      removeLeftInstances();
    },
    () => reload(),
  );
  // Locks the directory and takes the ports, so that failures come before an agent runs.
  const waitsFor = "this node's agent is starting";
  const options = { ...brokerOptions(settings, log), waitsFor, connected: fitYoungGeneration };
  const broker = await startBroker(options).catch(async (cause) => {
    await agent.stop();
    throw cause;
  });
  reload = broker.reload;
  say(`Backplane listens on ${broker.grpcAddress} (gRPC) and ${httpScheme(settings)}://${broker.httpAddress}`);
  const elsewhere = settings['nats.servers'].length > 0 ? [NOT_ON_NATS] : [];
  for (const warning of [...warnings(settings, broker), ...elsewhere]) say(warning);
  const brokers = [reachable(broker.grpcAddress)];
  // Held back until the node is present, because the suggested command shows nothing before.
  let saidNext = false;
  const sayNext = () => {
    if (!saidNext) say(`Next, in another terminal: ${commandName()} observe --follow${clientFlags(broker, ca)}`);
    saidNext = true;
  };
  agent.begin({
    environment: configEnvironment({
      ...settings,
      brokers,
      'token.file': broker.tokenFile ?? '',
      // It has the token. The certificate is the broker's.
      ...{ 'tls.ca': ca, 'tls.cert': '', 'tls.key': '' },
      'grpc.listen': broker.grpcAddress,
      'http.listen': broker.httpAddress,
    }),
    onMessage: (message) => {
      broker.waitsFor(whyAbsent(message));
      if (message.kind === 'present') sayNext();
      else sayAgent(message, nodes);
    },
    onEnd: () => broker.waitsFor("this node's agent ended and is started again"),
  });
  if (!interrupt.signal.aborted) await once(interrupt.signal, 'abort');
  log.info('stopping');
  broker.endsSoon();
  await agent.stop();
  removeLeftInstances();
  await broker.drain();
  interrupt.release();
}

/** The CA by which this node's agent knows its broker; empty without TLS. @throws BackplaneError invalid_argument */
function ownCa(settings: Settings): string {
  if (settings['tls.cert'] === '') return '';
  const { 'tls.ca': ca, 'tls.clientCa': clientCa } = settings;
  if (ca === '' && clientCa === '') checkTogether(settings, 'tls.cert', 'tls.ca');
  return ca || clientCa;
}

/** The reason why this node is not present yet; undefined when it is. */
function whyAbsent(message: AgentMessage): string | undefined {
  switch (message.kind) {
    case 'present':
      return undefined;
    case 'absent':
      return "this node's agent is not connected";
    case 'failed':
      return `this node cannot record: ${message.message}`;
    case 'started':
      return "this node's agent is connecting";
  }
}

function sayAgent(message: AgentMessage, nodes: readonly string[]): void {
  if (message.kind === 'failed') say(`This node cannot record: ${safeText(message.message)}`);
  if (message.kind !== 'started') return;
  const [several, first, last] = [nodes.length > 1, nodes.at(0), nodes.at(-1)];
  const who = several ? `Nodes ${first} to ${last} record` : `Node ${first} records`;
  say(`${who} ${message.events.length} kernel events from ${safeText(message.source)}`);
  if (message.degraded !== undefined)
    say(
      `${several ? 'They see less than they' : 'It sees less than it'} should: ${safeText(message.degraded)} (try "${commandName()} doctor")`,
    );
}

/** The flags that a command needs: none for the default address, nor for a token that is noted for it. */
function clientFlags({ grpcAddress, tokenFile, tokenNoted }: Broker, ca: string): string {
  const address = reachable(grpcAddress);
  const broker = address === SETTINGS.brokers.fallback ? '' : ` --broker ${address}`;
  const token = tokenFile === undefined || tokenNoted ? '' : ` --token-file ${shellWord(tokenFile)}`;
  return broker + token + (ca === '' ? '' : ` --tls-ca ${shellWord(ca)}`);
}

/** A broker that listens everywhere is reached on loopback. */
function reachable(address: string): string {
  return address.replace(/^0\.0\.0\.0:/, '127.0.0.1:').replace(/^\[::\]:/, '[::1]:');
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
