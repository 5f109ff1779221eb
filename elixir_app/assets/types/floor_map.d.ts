export namespace FloorMap {
    /** @this {import("phoenix_live_view").ViewHook & {view?: MapView}} */
    function mounted(this: import("phoenix_live_view").ViewHook<HTMLElement> & {
        view?: MapView;
    }): void;
    /** @this {import("phoenix_live_view").ViewHook & {view?: MapView}} */
    function destroyed(this: import("phoenix_live_view").ViewHook<HTMLElement> & {
        view?: MapView;
    }): void;
}
export type Point = import("./floor_geometry.js").Point;
export type FloorPlanMap = {
    plan: import("./floor_geometry.js").Plan;
    range: number | null;
    walk: boolean;
    positions: Record<string, Point | null>;
};
declare class MapView {
    /** @param {HTMLElement} element */
    constructor(element: HTMLElement);
    element: HTMLElement;
    drawing: SVGSVGElement;
    list: HTMLElement | null;
    close(): void;
    #private;
}
export {};
