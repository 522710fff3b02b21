/**
 * Everything a page needs of Preact and htm, from one place.
 *
 * Preact because it is 5 KB, has the component model most people know, and with htm's tagged templates needs no
 * build step: what stands here is what the browser runs.
 */
import { h, Fragment, render, createContext } from "preact";
import { useCallback, useContext, useEffect, useId, useLayoutEffect, useMemo, useReducer, useRef, useState } from "preact/hooks";
import htm from "htm";

/**
 * A virtual node; what components return.
 * @typedef {import("preact").ComponentChildren} Children
 */

/** @type {(strings: TemplateStringsArray, ...values: any[]) => any} */
export const html = htm.bind(/** @type {any} */ (h));

export {
  h,
  Fragment,
  render,
  createContext,
  useCallback,
  useContext,
  useEffect,
  useId,
  useLayoutEffect,
  useMemo,
  useReducer,
  useRef,
  useState,
};

/**
 * Joins class names; what is false is left out.
 * @param {...(string | false | null | undefined)} names
 * @returns {string}
 */
export function classes(...names) {
  return names.filter(Boolean).join(" ");
}
