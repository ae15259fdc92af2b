/** Commands to begin with, shown below each verb's help. Each can be typed as it is. */
import type { Command } from 'commander';
import { asTyped } from './command-name.js';

/** By the words of the command; observe has its own (observe-help.ts). `backplane` stands for what is typed here. */
export const EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  up: ['backplane up', 'backplane up --data-dir /var/lib/backplane --agent-profiles lite,security'],
  broker: [
    'backplane broker --data-dir /var/lib/backplane',
    'backplane broker --grpc-listen 127.0.0.1:9484',
    'backplane broker --nats nats://10.0.0.1:4222,nats://10.0.0.2:4222 --cluster prod',
  ],
  agent: [
    'backplane agent --broker 10.0.0.1:8484 --token-file /etc/backplane/token',
    'backplane agent --source synthetic --synthetic-rate 1000',
  ],
  publish: [
    'backplane publish app.deploy --id build-4711 --body \'{"version": "1.4.2"}\'',
    "jq -c '{id: .sha, body: .}' commits.json | backplane publish app.commits",
  ],
  nodes: ['backplane nodes', 'backplane nodes -o wide --watch 5s', 'backplane nodes -o json'],
  'nodes set-budget': [
    "backplane nodes set-budget 'web-*' --live-bytes 512KiB --live-events 1000",
    'backplane nodes set-budget web-1 --reset',
  ],
  'nodes forget': ['backplane nodes forget web-7'],
  topics: ['backplane topics', 'backplane topics -o json'],
  subscriptions: ['backplane subscriptions', 'backplane subscriptions --watch'],
  groups: ['backplane groups', 'backplane groups --watch'],
  'groups show': ['backplane groups show triage', 'backplane groups show triage -o json'],
  'groups delete': ['backplane groups delete triage'],
  'groups reset': ['backplane groups reset triage --to now', 'backplane groups reset triage --to 2h'],
  'groups set-filter': [`backplane groups set-filter triage --topic process --filter 'process.user.id == 0'`],
  top: ['backplane top', 'backplane top --view subscriptions --sort LAG', 'backplane top -o json -n 1'],
  status: ['backplane status', 'backplane status --broker 127.0.0.1:9484 -o json'],
  retire: ['backplane retire --broker 10.0.0.1:8484'],
  tokens: ['backplane tokens list'],
  'tokens issue': ['backplane tokens issue alice --expires 30d', 'backplane tokens issue ci --expires 12h > ci-token'],
  'tokens list': ['backplane tokens list', 'backplane tokens list -o json'],
  'tokens revoke': ['backplane tokens revoke k3v9x2m1a0pq'],
  doctor: ['backplane doctor', 'backplane doctor -o json'],
  config: ['backplane config', 'backplane config --config /etc/backplane.yaml'],
  certs: ['backplane certs init', 'backplane certs issue alice'],
  'certs init': ['backplane certs init --name broker.example --address 10.0.0.1'],
  'certs issue': ['backplane certs issue alice', 'backplane certs issue web-1 --for node --days 90'],
  'certs join-token': ['backplane certs join-token web-1', "backplane certs join-token 'web-*' --tls-ca certs/ca.crt"],
  cluster: ['backplane cluster check --nats nats://10.0.0.1:4222 --cluster prod'],
  'cluster init': [
    'backplane cluster init --nats nats://10.0.0.1:4222 --cluster prod',
    'backplane cluster init --nats tls://nats.example --nats-ca ca.crt --nats-nkey seed --cluster prod --log-bytes-max 64GiB',
  ],
  'cluster check': ['backplane cluster check --nats nats://10.0.0.1:4222,nats://10.0.0.2:4222 --cluster prod'],
  'cluster set': ['backplane cluster set --nats nats://10.0.0.1:4222 --cluster prod --log-bytes-max 128GiB'],
  decode: ['backplane decode ./capture'],
  completion: [
    'source <(backplane completion bash)',
    'backplane completion zsh > ~/.zsh/functions/_backplane',
    'backplane completion fish > ~/.config/fish/completions/backplane.fish',
  ],
};

/** For the command and those below it. */
export function addExamples(command: Command, path = command.name()): void {
  const examples = EXAMPLES[path] ?? [];
  if (examples.length > 0)
    command.addHelpText('after', `\nExamples:\n${examples.map((example) => `  ${asTyped(example)}`).join('\n')}`);
  for (const child of command.commands) addExamples(child, `${path} ${child.name()}`);
}
