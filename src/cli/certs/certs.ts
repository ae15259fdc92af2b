/** `backplane certs`: an authority, the certificates of brokers, nodes and clients that it signs, and join tokens. */
import type { Command } from 'commander';
import { defineInit } from './init.js';
import { defineIssue } from './issue.js';
import { defineJoinToken } from './join-token.js';

export function define(command: Command): void {
  defineInit(command.command('init').description('make an authority, and the certificate of a broker'));
  defineIssue(command.command('issue').description('make the certificate of a node, a client or another broker'));
  defineJoinToken(
    command.command('join-token').description('ask a broker for a token by which a node gets its certificate'),
  );
}
