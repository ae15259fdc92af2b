/** The OpenAPI document that a broker serves, as a judge of its answers that knows no other fields than those it names. */
import assert from 'node:assert/strict';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';

interface Schema {
  readonly [keyword: string]: unknown;
}

interface Operation {
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, Content>> }>>;
  readonly requestBody?: { readonly content: Readonly<Record<string, Content>> };
}

interface Content {
  readonly schema: Schema;
  readonly 'x-item-schema'?: Schema;
}

export class ApiDocument {
  static #served: Promise<ApiDocument> | undefined;
  readonly #ajv = new Ajv2020({ strict: false, validateFormats: false });
  readonly #validators = new Map<Schema, ValidateFunction>();

  private constructor(
    readonly document: {
      readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
    },
  ) {
    this.#ajv.addSchema(strict(document) as object, 'api');
  }

  /**
   * `address`: host:port. The document itself is checked, too. Brokers of one process have the same one, which is read once,
   * because to compile it takes long.
   */
  static of(address: string): Promise<ApiDocument> {
    ApiDocument.#served ??= ApiDocument.#read(address);
    return ApiDocument.#served;
  }

  static async #read(address: string): Promise<ApiDocument> {
    const document = await (await fetch(`http://${address}/openapi.json`)).json();
    const { valid, errors } = await new Validator().validate(structuredClone(document) as Record<string, unknown>);
    assert.ok(valid, JSON.stringify(errors));
    return new ApiDocument(document as never);
  }

  /** A whole answer to a request, by its status and type. */
  checkAnswer(method: string, path: string, status: number, type: string, body: unknown): void {
    const { responses } = this.document.paths[path]?.[method.toLowerCase()] ?? assert.fail(`${method} ${path}`);
    const content = (responses[String(status)] ?? responses.default)?.content?.[mediaType(type)];
    assert.ok(content, `${method} ${path}: ${status} ${type} is in the document`);
    this.#check(content.schema, body, `${method} ${path}`);
  }

  /** A line, or a server-sent event with its data parsed. */
  checkItem(method: string, path: string, type: string, item: unknown): void {
    const content = this.document.paths[path]?.[method.toLowerCase()]?.responses['200']?.content?.[mediaType(type)];
    assert.ok(content?.['x-item-schema'], `${method} ${path}: items of ${type} are in the document`);
    this.#check(content['x-item-schema'], item, `${method} ${path}`);
  }

  checkBody(method: string, path: string, body: unknown): void {
    const content = this.document.paths[path]?.[method.toLowerCase()]?.requestBody?.content['application/json'];
    assert.ok(content, `${method} ${path}: a body is in the document`);
    this.#check(content.schema, body, `${method} ${path}`);
  }

  #compile(schema: Schema): ValidateFunction {
    const validate = this.#ajv.compile(typeof schema.$ref === 'string' ? { $ref: `api${schema.$ref}` } : schema);
    this.#validators.set(schema, validate);
    return validate;
  }

  #check(schema: Schema, value: unknown, what: string): void {
    const validate = this.#validators.get(schema) ?? this.#compile(schema);
    if (validate(value)) return;
    assert.fail(`${what}: ${JSON.stringify(validate.errors)}\n${JSON.stringify(value).slice(0, 2_000)}`);
  }
}

function mediaType(type: string): string {
  return type.split(';')[0]!.trim();
}

/** The same, with every object closed to what it does not name. */
function strict(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(strict);
  if (typeof value !== 'object' || value === null) return value;
  const copy = Object.fromEntries(Object.entries(value).map(([key, each]) => [key, strict(each)]));
  return 'properties' in copy && copy.type === 'object' ? { ...copy, unevaluatedProperties: false } : copy;
}
