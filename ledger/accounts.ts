/**
 * How an account is called in entries and reports. A wallet has `available`, `held` and `debt`; the store has
 * `issued`, `usage`, `breakage`, `revoked`, `clawed_back` and `written_off`, for all wallets together.
 *
 * @example accountName('available', 'acme.main') // 'acme.main/available'
 * @example accountName('usage', null) // 'store/usage'
 */
export function accountName(kind: string, wallet: string | null): string {
  return `${wallet ?? 'store'}/${kind}`;
}
