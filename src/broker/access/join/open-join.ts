/** The join service of a broker, from its options. */
import { Authority } from '../../../access/authority.js';
import { BackplaneError } from '../../../errors.js';
import type { AuditTrail } from '../../cluster/audit-trail.js';
import { StateFile } from '../../cluster/embedded/state-file.js';
import type { SharedState } from '../../cluster/shared-state.js';
import type { AccessControl } from '../access-control.js';
import type { TlsFiles } from '../tls/server-tls.js';
import { JoinService, type Signer } from './join-service.js';
import { checkJoinState, JoinTokens } from './join-tokens.js';
import { ServiceAccounts } from './service-accounts.js';

/** `dir` is the broker's; `shared` goes before it, where brokers have the tokens together. @throws BackplaneError invalid_argument for a key that is not that of the authority */
export function openJoin(
  dir: string,
  tls: TlsFiles | undefined,
  control: AccessControl,
  trail: AuditTrail,
  warn: (message: string) => void,
  shared: SharedState | undefined,
): JoinService {
  const state = shared ?? ownState(dir, warn);
  return new JoinService(signerOf(tls), new JoinTokens(state), control, trail);
}

function ownState(dir: string, warn: (message: string) => void): SharedState {
  return new StateFile({
    ...{ dir, name: 'join-tokens', check: checkJoinState, warn },
    upgrade: () => {
      throw new BackplaneError('damaged', 'there was no version 1');
    },
    consequence: 'Join tokens that were not used yet are gone: make others',
  });
}

function signerOf(tls: TlsFiles | undefined): Signer | undefined {
  if (tls?.signs === undefined || tls.clientCa === undefined) return undefined;
  const { key, validMs, serviceAccounts } = tls.signs;
  const accounts = serviceAccounts && new ServiceAccounts(serviceAccounts);
  return { authority: new Authority(tls.clientCa, key), validMs, serviceAccounts: accounts };
}
