import { Ajv2020 } from 'ajv/dist/2020.js';
import { canonicalDigest } from './canonical.ts';
import { type Contract, ContractError } from './document.ts';
import { CONTRACT_SCHEMA } from './document-schema.ts';

const validate = new Ajv2020({ allErrors: true, strict: true, strictTypes: false, logger: false }).compile<Contract>(
  CONTRACT_SCHEMA,
);

/**
 * Reads a contract document that came from outside, e.g. `OfferingVersion.spec.contract`. It checks the
 * shape only; that the document is the compiled one is what its digest says.
 * @throws ContractError naming what does not fit
 */
export function parseContract(document: unknown): Contract {
  if (validate(document)) return document;
  const problems = (validate.errors ?? []).map((error) => ({
    pointer: error.instancePath,
    rule: 'contract_malformed',
    message: `The contract ${error.message ?? 'is malformed'}.`,
  }));
  throw new ContractError(problems);
}

/** `sha256:<hex>` of a contract document as it stands, to compare with the digest it was given. */
export function contractDigest(contract: Contract | Record<string, unknown>): string {
  return canonicalDigest(contract);
}
