/** Keys are slash-separated segments of these characters; nothing else can leave a store's folder or bucket. */
const KEY = /^[\w-][\w.-]*(\/[\w-][\w.-]*)*$/;

/** @throws RangeError unless the key is one that every store takes for the same */
export function checkedKey(key: string): string {
  if (!KEY.test(key)) throw new RangeError('blob key is not valid');
  return key;
}
