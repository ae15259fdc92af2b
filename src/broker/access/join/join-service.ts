/** The service by which nodes get their certificates (join.proto). */
import { X509Certificate } from 'node:crypto';
import type { handleUnaryCall, ServerUnaryCall, UntypedServiceImplementation } from '@grpc/grpc-js';
import { type Authority, requestedKey, spiffeId } from '../../../access/authority.js';
import { asBackplaneError, BackplaneError } from '../../../errors.js';
import { REQUEST_BYTES_MAX } from '../../../limits.js';
import { msToNs } from '../../../nanoseconds.js';
import { checkName } from '../../../subscriptions/request/names.js';
import { isGlob } from '../../../subscriptions/request/node-globs.js';
import { callFailure } from '../../../wire/grpc/status-details.js';
import {
  createJoinTokenRequestCodec,
  createJoinTokenResponseCodec,
  joinRequestCodec,
  joinResponseCodec,
  nsToTimestamp,
  renewRequestCodec,
  renewResponseCodec,
} from '../../../wire/messages.js';
import type { AuditTrail } from '../../cluster/audit-trail.js';
import type { AccessControl } from '../access-control.js';
import { callerOf } from '../caller.js';
import { checkNodes, type JoinTokens } from './join-tokens.js';
import type { ServiceAccounts } from './service-accounts.js';

type UnaryCall = ServerUnaryCall<Buffer, Buffer>;

/** What a broker that has its authority's key signs with. */
export interface Signer {
  readonly authority: Authority;
  /** How long the certificates of nodes hold, in milliseconds. */
  readonly validMs: number;
  /** Undefined: nodes join by join tokens only. */
  readonly serviceAccounts: ServiceAccounts | undefined;
}

export class JoinService {
  readonly #signer: Signer | undefined;
  readonly #tokens: JoinTokens;
  readonly #control: AccessControl;
  readonly #trail: AuditTrail;

  /** Without a signer every call is refused. */
  constructor(signer: Signer | undefined, tokens: JoinTokens, control: AccessControl, trail: AuditTrail) {
    this.#signer = signer;
    this.#tokens = tokens;
    this.#control = control;
    this.#trail = trail;
  }

  handlers(): UntypedServiceImplementation {
    return {
      Join: this.#unary('join', (call) => this.#join(call)),
      Renew: this.#unary('renew', (call) => this.#renew(call)),
      CreateJoinToken: this.#unary('create_join_token', (call) => this.#createToken(call)),
    };
  }

  /** The token is used up last, so that what is wrong with the rest of a request does not cost it. */
  async #join(call: UnaryCall): Promise<Buffer> {
    this.#signs();
    const { node, signingRequest, token, serviceAccountToken } = joinRequestCodec.decode(
      call.request,
      REQUEST_BYTES_MAX,
    );
    checkName('node', node);
    const useUp = serviceAccountToken
      ? await this.#checkServiceAccount(serviceAccountToken, node)
      : this.#tokens.check(token ?? '', node);
    const key = await requestedKey(signingRequest);
    await useUp();
    const { certificates, serial } = await this.#certified(node, key);
    await this.#trail.record({ action: 'join', peer: call.getPeer(), nodes: [node], serial });
    return joinResponseCodec.encode(certificates);
  }

  /** Such a token is used again where a node has lost its certificate; it holds for an hour or so. */
  async #checkServiceAccount(token: string, node: string): Promise<() => Promise<void>> {
    const { serviceAccounts } = this.#signs();
    if (serviceAccounts === undefined) {
      const missing = 'this broker knows no keys of service account tokens: give it --join-keys';
      throw new BackplaneError('failed_precondition', missing);
    }
    const own = await serviceAccounts.node(token);
    if (own === node) return async () => undefined;
    const message = `the service account token is of a pod on another node than ${node}`;
    throw new BackplaneError('permission_denied', message, { field: 'node' });
  }

  /** Only for as long as the node may connect: its role can be taken from it. */
  async #renew(call: UnaryCall): Promise<Buffer> {
    const caller = callerOf(call);
    const { kind, name } = caller.identity;
    const { helloNode: node } = this.#control.enter(caller, { verbs: ['uplink'], helloNode: '' });
    if (kind !== 'certificate' || name !== spiffeId({ kind: 'node', name: node })) {
      const message = 'only a node renews its certificate, over a connection that shows it';
      throw new BackplaneError('permission_denied', message);
    }
    this.#signs();
    const { signingRequest } = renewRequestCodec.decode(call.request, REQUEST_BYTES_MAX);
    const { certificates, serial } = await this.#certified(node, await requestedKey(signingRequest));
    await this.#trail.record({ action: 'renew', ...caller, nodes: [node], serial });
    return renewResponseCodec.encode(certificates);
  }

  /** Who may not make tokens learns nothing of what is wrong with the request, or with the broker. */
  async #createToken(call: UnaryCall): Promise<Buffer> {
    const caller = callerOf(call);
    const { peer, identity } = caller;
    this.#control.enter(caller, { verbs: ['join'] });
    const { authority } = this.#signs();
    const { nodes } = createJoinTokenRequestCodec.decode(call.request, REQUEST_BYTES_MAX);
    checkNodes(nodes);
    const { nodesWithin, nodesWithout } = this.#control.authorize(caller, { verbs: ['join'], nodes });
    // A glob stands for nodes that nobody has checked, so it is only for who may have all of them join.
    if ((nodesWithin !== undefined || nodesWithout.length > 0) && nodes.some(isGlob)) {
      const problem = 'nodes must be names, as a glob may reach beyond those that are granted';
      throw new BackplaneError('permission_denied', problem, { field: 'nodes' });
    }
    await this.#trail.record({ action: 'create_join_token', peer, identity, nodes });
    const { text, endsMs } = await this.#tokens.create(nodes, authority.pin);
    return createJoinTokenResponseCodec.encode({ token: text, expires: nsToTimestamp(msToNs(endsMs)) });
  }

  /** What the node gets, and the serial number by which the certificate can be revoked. */
  async #certified(node: string, key: Buffer) {
    const { authority, validMs } = this.#signs();
    const pem = await authority.certify(key, { kind: 'node', name: node, hosts: [] }, validMs, Date.now());
    const serial = new X509Certificate(pem).serialNumber;
    return { certificates: { certificates: pem, authorities: authority.pem }, serial };
  }

  /** @throws BackplaneError failed_precondition */
  #signs(): Signer {
    if (this.#signer !== undefined) return this.#signer;
    throw new BackplaneError(
      'failed_precondition',
      "this broker signs no certificates: give it its CA's key, --tls-ca-key",
    );
  }

  #unary(
    action: 'join' | 'renew' | 'create_join_token',
    answer: (call: UnaryCall) => Promise<Buffer>,
  ): handleUnaryCall<Buffer, Buffer> {
    return async (call, respond) => {
      try {
        respond(null, await answer(call));
      } catch (cause) {
        const error = asBackplaneError(cause);
        const peer = call.getPeer();
        this.#trail.refuse({ action, peer, nodes: '', code: error.code, refused: error.message });
        respond(callFailure(error));
      }
    };
  }
}
