/**
 * How an account is called in entries and reports. A wallet has `available`, `held` and `debt`; the store has
 * `issued`, `promotions`, `usage`, `breakage`, `revoked`, `clawed_back` and `written_off`, for all wallets together,
 * and `usage` once more for each offering.
 *
 * @example accountName({ kind: 'available', offering: '' }, 'acme.main') // 'acme.main/available'
 * @example accountName({ kind: 'usage', offering: 'claims-agent' }, null) // 'store/usage/claims-agent'
 */
export function accountName({ kind, offering }: { kind: string; offering: string }, wallet: string | null): string {
  return [wallet ?? 'store', kind, ...(offering === '' ? [] : [offering])].join('/');
}
