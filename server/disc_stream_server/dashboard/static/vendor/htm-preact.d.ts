// Ours, for the check of types: what the dashboard takes from htm-preact.js.
export function html(strings: TemplateStringsArray, ...values: any[]): any;
export function render(what: any, where: Element | null): void;
export function useState<T>(first: T | (() => T)): [T, (next: T | ((old: T) => T)) => void];
export function useEffect(act: () => void | (() => void), inputs?: any[]): void;
export function useLayoutEffect(act: () => void | (() => void), inputs?: any[]): void;
export function useRef<T = any>(first: T): { current: T };
export function useMemo<T>(make: () => T, inputs: any[]): T;
export function useCallback<T>(act: T, inputs: any[]): T;
