/** Where a node's session is reached by all brokers of a cluster. */
import { subjectToken } from '../../cluster/nats/subject-token.js';

export function sessionSubject(cluster: string, node: string, session: string): string {
  return `bp.${cluster}.session.${subjectToken(node)}.${session}`;
}
