/** The ledger's name of a Wallet: `<organization>.<wallet>`. */
export function ledgerWalletName(organization: string, wallet: string): string {
  return `${organization}.${wallet}`;
}

/** Inverse of {@link ledgerWalletName}; an Organization's name holds no dot. */
export function splitLedgerWallet(name: string): { organization: string; wallet: string } | undefined {
  const dot = name.indexOf('.');
  if (dot <= 0 || dot === name.length - 1) return undefined;
  return { organization: name.slice(0, dot), wallet: name.slice(dot + 1) };
}
