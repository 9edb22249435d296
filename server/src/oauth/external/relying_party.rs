//! Clients of OpenID providers with what a provider adds to tokens and their answers: the types of openidconnect for
//! them, which name each part. <https://openid.net/specs/openid-connect-core-1_0.html#Terminology>

use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreRevocableToken, CoreRevocationErrorResponse,
    CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{Client, EndpointNotSet, EndpointSet, IdTokenFields, StandardErrorResponse, StandardTokenResponse};

/// What the token endpoint answers: `Claims` are added to the `id_token`, `Fields` to the answer.
pub type TokenAnswer<Claims, Fields> = StandardTokenResponse<
    IdTokenFields<Claims, Fields, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>,
    CoreTokenType,
>;

/// A client that knows where to authorise; `Token` and `UserInfo` say whether it knows these endpoints.
pub type RelyingParty<Claims, Fields, Token, UserInfo> = Client<
    Claims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    TokenAnswer<Claims, Fields>,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    Token,
    UserInfo,
>;
