/**
 * @param {Call} call
 * @param {(path: string) => void} navigate
 */
export function showProblems(call: Call, navigate: (path: string) => void): void;
/**
 * @param {Problem} problem
 * @param {() => void} onAction
 */
export function draft({ code, title, text, action }: Problem, onAction: () => void): HTMLDivElement;
/**
 * @param {import("./call.js").Place | null} place
 * @param {Record<string, string>} [more]
 */
export function lobbyPath(place: import("./call.js").Place | null, more?: Record<string, string>): string;
export type Call = import("./call.js").Call;
export type Problem = import("./messages.js").Problem;
