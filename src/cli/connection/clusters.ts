/** The clusters that a command asks: the one of its brokers, or several of the setting `clusters`. */
import { securedBy } from '../../access/secure-channel.js';
import { checkToken, readTokenFile } from '../../access/token.js';
import { type CredentialFor, notedCredential } from '../../access/token-lookup.js';
import { Client } from '../../client/client.js';
import type { ClusterSettings } from '../../config/clusters-data.js';
import type { Config } from '../../config.js';
import { invalid } from '../../errors.js';
import { CLUSTERS_MAX } from '../../limits.js';
import { packageVersion } from '../../package-files.js';
import { suggestion } from '../../text/nearest.js';
import { clientOf } from './credentials.js';

/** By name; of brokers that no name was given for the one ''. */
export type ClusterClients = ReadonlyMap<string, Client>;

/** @param names undefined: the brokers of the settings. @throws BackplaneError invalid_argument */
export function clusterClients(config: Config, names: readonly string[] | undefined): ClusterClients {
  if (names === undefined) return new Map([['', clientOf(config)]]);
  if (names.length > CLUSTERS_MAX)
    throw invalid('--clusters', `must name at most ${CLUSTERS_MAX}, got ${names.length}`);
  const { clusters, zone } = config.settings;
  const known = [...clusters.keys()];
  const clients = new Map<string, Client>();
  for (const name of names) {
    const cluster = clusters.get(name);
    if (cluster === undefined) {
      const there = known.length === 0 ? 'it has none: see docs/several-clusters.md' : `it has ${known.join(', ')}`;
      throw invalid(
        '--clusters',
        `no cluster ${JSON.stringify(name)} in the setting clusters${suggestion(name, known)}; ${there}`,
      );
    }
    if (clients.has(name)) throw invalid('--clusters', `names ${name} twice`);
    clients.set(name, clientOfCluster(name, cluster, zone));
  }
  return clients;
}

function clientOfCluster(name: string, cluster: ClusterSettings, zone: string): Client {
  const { brokers, ca, cert, key } = cluster;
  const securityFor = ca === '' ? undefined : securedBy({ ca, own: cert === '' ? undefined : { cert, key } });
  const tlsNames = { ca: `clusters.${name}.ca`, cert: `clusters.${name}.cert` };
  return new Client(brokers, credentialOf(name, cluster), { zone, securityFor, tlsNames, version: packageVersion() });
}

/** The variables and the data directory of this command are of its own cluster: no other gets that token. */
function credentialOf(name: string, { cert, token, tokenFile }: ClusterSettings): CredentialFor {
  const from = `clusters.${name}.token`;
  if (token !== '') {
    const sent = { token: checkToken(from, token), from };
    return () => sent;
  }
  if (tokenFile !== '') return () => ({ token: readTokenFile(tokenFile).token, from: tokenFile });
  if (cert !== '') return () => undefined;
  return (broker) => notedCredential(process.env, broker);
}
