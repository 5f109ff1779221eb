/**
 * Title and advice by the code with which the server ends a call or keeps somebody out.
 *
 * @type {Record<string, {title: string, text: string}>}
 */
export const SERVER_ERRORS: Record<string, {
    title: string;
    text: string;
}>;
