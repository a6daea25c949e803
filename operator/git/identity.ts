/** Address of the author and committer of everything that the operator writes; by it its commits are known. */
export const OPERATOR_EMAIL = 'operator@gsv.invalid';
/** Author and committer of everything that the operator writes. */
export const OPERATOR = `GSV operator <${OPERATOR_EMAIL}>`;
