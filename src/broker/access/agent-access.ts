/** Which node an agent is: what its credential says, whatever it says itself. */
import type { BackplaneError } from '../../errors.js';
import type { AccessControl } from './access-control.js';
import { callerOf } from './caller.js';
import type { Caller } from './gate.js';

type Call = Parameters<typeof callerOf>[0];

export interface GreetedNode {
  readonly node: string;
  readonly caller: Caller;
}

export class AgentAccess {
  readonly #access: AccessControl;

  constructor(access: AccessControl) {
    this.#access = access;
  }

  /**
   * @param said the node that the agent says it is; empty: it leaves that to its certificate
   * Throws permission_denied for another node than the certificate's, or one that the role does not grant.
   */
  greet(call: Call, said: string): GreetedNode {
    const caller = callerOf(call);
    const { helloNode } = this.#access.enter(caller, { verbs: ['uplink'], helloNode: said });
    return { node: helloNode, caller };
  }

  /** Whether a call is of whoever greeted. */
  isSame(call: Call, { caller: { identity } }: GreetedNode): boolean {
    const { kind, name } = callerOf(call).identity;
    return kind === identity.kind && name === identity.name;
  }

  /** Why an agent may not go on; undefined: it may. */
  whyOver({ caller, node }: GreetedNode): BackplaneError | undefined {
    return this.#access.whyAgentOver(caller, node);
  }
}
