/** Asks for a join token. */

import type { SecurityFor } from '../access/secure-channel.js';
import { secureTrouble } from '../access/secure-trouble.js';
import type { CredentialFor } from '../access/token-lookup.js';
import { asBackplaneError, type BackplaneError } from '../errors.js';
import { BrokerRing } from '../flow/reconnect.js';
import { CLIENT_ANSWER_MS } from '../limits.js';
import { createJoinClient } from '../wire/grpc/rpc.js';
import type { CreateJoinTokenResponse__Output } from '../wire/messages.js';
import { clientError, noBrokerError } from './client-error.js';
import { askInTurn } from './resuming-stream.js';

/**
 * `brokers` are as of a Client. `nodes` are names or globs, one of which the node that joins must match.
 * @throws BackplaneError what the broker refused; unavailable when none answers
 */
export function createJoinToken(
  brokers: readonly string[],
  credentialFor: CredentialFor,
  securityFor: SecurityFor,
  nodes: readonly string[],
  zone = '',
): Promise<CreateJoinTokenResponse__Output> {
  const asError = (_broker: string, thrown: unknown) => asBackplaneError(thrown);
  const source = { failure: asError, lost: () => {}, nobody: noBrokerError };
  return askInTurn(source, new BrokerRing(brokers, zone), async (broker) => {
    const security = securityFor(broker);
    const client = createJoinClient(broker, security, credentialFor(broker)?.token);
    try {
      return await new Promise<CreateJoinTokenResponse__Output>((resolve, reject) => {
        const deadline = new Date(Date.now() + CLIENT_ANSWER_MS);
        client.createJoinToken({ nodes: [...nodes] }, { deadline }, (error, response) => {
          if (error === null && response !== undefined) resolve(response);
          else reject(failure(broker, error, security.isSecure));
        });
      });
    } finally {
      client.close();
    }
  });
}

function failure(broker: string, thrown: unknown, isSecure: boolean): BackplaneError {
  const error = clientError(thrown);
  if (error.code !== 'unavailable') return error;
  const { details = '' } = thrown as { details?: unknown };
  return secureTrouble(broker, String(details), isSecure) ?? error;
}
